"""From a configuration to a run: what the two binaries do."""

from collections.abc import Iterable, Mapping, Sequence
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax.data import feeds, index, spec
from medad_jax.engine import (
  checkpoint,
  cores,
  environment,
  evaluation,
  members,
  parallel,
  pretrained,
  processes,
  run,
  scorer,
  train,
  writers,
)
from medad_jax.engine import config as configuration
from medad_jax.engine.settings import Data, Settings
from medad_jax.engine.workdir import Workdir
from medad_jax.report import table
from medad_jax.types import Phase, Pretrained, Stage, UserError


def train_and_evaluate(
  config: Mapping[str, Any], workdir: Path
) -> dict[str, Any]:
  """Trains what is not yet trained, then evaluates.

  Args:
    config: plain values, as a `configs/` file gives them.
    workdir: the run's folder; a half-finished run in it is continued.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: the configuration, the data or the folder do not fit.
  """
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  stages = method.phases()
  _check_selection(settings, config["method"], stages)
  trials = members.seeds(settings.seed, settings.seeds)
  devices = _devices(stages, settings)
  wanted = {pool.name: pool for stage in stages for pool in stage.pools}
  used = index.splits_used(wanted.values())
  dataset = _open(settings.data, (*used, "test"))
  pools = index.make_pools(
    wanted.values(), {name: len(dataset.splits[name]) for name in used}
  )
  pools = index.hold_out(pools, settings.validation.share)
  origins = _origins(stages)
  images = np.concatenate([dataset.splits[name].images for name in used])
  feed = feeds.choose(
    images,
    settings.data.feed,
    settings.data.resident_mb,
    copies=_copies(devices),
  )
  folder = Workdir(workdir)
  with folder.locked():
    folder.claim(config, _identity(dataset))
    _remember(workdir, origins)
    with contextlib.closing(writers.Writers(workdir, processes.first())) as log:
      checkpoint.recover(workdir / "checkpoints", log.note)
      _record_start(folder, config, stages, len(trials), devices, log)
      shared = run.Run(
        workdir=workdir,
        log=log,
        feed=feed,
        pools=pools,
        shape=images.shape[1:],
        trials=trials,
        devices=devices,
        steps_per_call=settings.steps_per_call,
        checkpoint_seconds=settings.checkpoint_seconds,
        scoring_batch=settings.evaluation.batch_size,
        validate_every=settings.validation.every,
        select=settings.select,
      )
      states = train.train(stages, shared)
    return _evaluate(method, states, dataset, config, workdir)


def evaluate_run(workdir: Path, data_dir: str | None) -> dict[str, Any]:
  """Evaluates a finished run from its folder alone.

  Args:
    workdir: the run's folder.
    data_dir: where the test data are; None for where the run found them.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: there is no finished run, or the test data are absent or
      others than those of the training.
  """
  folder = Workdir(workdir)
  config = folder.config()
  if data_dir is not None:
    config["data"]["dir"] = data_dir
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  dataset = _open(settings.data, ("test",))
  folder.check_data(_identity(dataset))
  side = settings.data.image_size
  trials = members.seeds(settings.seed, settings.seeds)
  states = scorer.restore(
    method, trials, (side, side, settings.data.channels), workdir
  )
  with folder.locked():
    return _evaluate(method, states, dataset, config, workdir)


def _devices(stages: Iterable[Stage], settings: Settings) -> parallel.Devices:
  """The devices as the user wants them, checked against the largest phase."""
  trained = [stage for stage in stages if isinstance(stage, Phase)]
  largest = max(trained, key=lambda phase: phase.members, default=None)
  count = settings.seeds * (largest.members if largest else 1)
  devices = cores.devices(
    count,
    mode=settings.parallel,
    member=settings.mesh.member,
    batch=settings.mesh.batch,
  )
  if largest is not None:
    devices.check(count, largest.length.batch_size)
  return devices


def _copies(devices: parallel.Devices) -> int:
  """How often what is on every device lies in one memory."""
  # Cores of a CPU that are devices share it.
  return len(devices.all) if devices.all[0].platform == "cpu" else 1


def _check_selection(
  settings: Settings, method: str, stages: Iterable[Stage]
) -> None:
  """Raises UserError unless what is held out and selected makes sense."""
  known = {
    name
    for stage in stages
    if isinstance(stage, Phase)
    for name in stage.monitors
  }
  select = settings.select
  if select != "last" and select not in known:
    raise UserError(
      f"select='{select}' is no rule of {method}; set it to one of"
      f" {', '.join(['last', *sorted(known)])}."
    )
  if select != "last" and not settings.validation.share:
    raise UserError(
      f"select='{select}' needs normal images that are held out; set"
      " validation.share, to 0.1 say."
    )


def _origins(stages: Iterable[Stage]) -> dict[str, str]:
  """Where pretrained weights are from; an error before anything is written."""
  return {
    part: pretrained.provenance(part, origin)
    for stage in stages
    if isinstance(stage, Pretrained)
    for part, origin in stage.origins.items()
  }


def _remember(workdir: Path, origins: Mapping[str, str]) -> None:
  """Keeps them beside the checkpoints, which hold the numbers."""
  path = workdir / evaluation.WEIGHTS
  if processes.first() and not path.exists():
    path.write_text(json.dumps(origins) + "\n")


def _identity(dataset: spec.Dataset) -> dict[str, Any]:
  """What tells a data set from another one of its name."""
  facts = {"fingerprint": dataset.fingerprint, "counts": dict(dataset.counts)}
  return {dataset.name: facts}


def _record_start(
  folder: Workdir,
  config: Mapping[str, Any],
  stages: Sequence[Stage],
  trials: int,
  devices: parallel.Devices,
  log: writers.Writers,
) -> None:
  """Keeps what the training runs on, where there is something to train."""
  saved = folder.path / "checkpoints"
  if all(checkpoint.Checkpoints(saved, s.name).finished for s in stages):
    return
  meshes = {
    stage.name: devices.layout(
      trials * stage.members, stage.length.batch_size
    ).mesh.shape
    for stage in stages
    if isinstance(stage, Phase)
  }
  precision = config["model"].get("precision", "float32")
  if differ := folder.start(environment.describe(precision, meshes)):
    log.note(f"going on with {', '.join(differ)}")


def _open(data: Data, splits: tuple[str, ...]) -> spec.Dataset:
  with processes.first_before_others("data"):  # it may build and cache them
    return spec.open_dataset(
      data.name,
      data.dir,
      image_size=data.image_size,
      channels=data.channels,
      resize=data.resize,
      need=splits,
    )


def _evaluate(method, states, dataset, config, workdir) -> dict[str, Any]:
  results = evaluation.evaluate(method, states, dataset, config, workdir)
  if processes.first():
    print(table.results_table(results))
    print(f"\nscores, figures and report.html are in {workdir}")
  return results
