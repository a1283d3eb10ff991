"""From a configuration to a run: what the two binaries do."""

from collections.abc import Iterable, Mapping
import json
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax.data import feeds, index, spec
from medad_jax.engine import config as configuration
from medad_jax.engine import (
  cores,
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
from medad_jax.report import table
from medad_jax.types import Method, Phase, Pretrained, Stage, UserError


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
  configuration.check(config)
  method = configuration.build_method(config)
  stages = method.phases()
  _check_validation(config, method)
  trials = members.seeds(config["seed"], config["seeds"])
  devices = _devices(stages, config, len(trials))
  wanted = {pool.name: pool for stage in stages for pool in stage.pools}
  used = index.splits_used(wanted.values())
  dataset = _open(config["data"], (*used, "test"))
  pools = index.make_pools(
    wanted.values(), {name: len(dataset.splits[name]) for name in used}
  )
  pools = index.hold_out(pools, config["validation"]["share"])
  origins = _origins(stages)
  configuration.claim(workdir, config)
  _remember(workdir, origins)
  log = writers.Writers(workdir, processes.first())
  images = np.concatenate([dataset.splits[name].images for name in used])
  feed = feeds.choose(
    images,
    config["data"]["feed"],
    config["data"]["resident_mb"],
    copies=_copies(devices),
  )
  settings = run.Run(
    workdir=workdir,
    log=log,
    feed=feed,
    pools=pools,
    shape=images.shape[1:],
    trials=trials,
    devices=devices,
    steps_per_call=config["steps_per_call"],
    checkpoint_seconds=config["checkpoint_seconds"],
    scoring_batch=config["evaluation"]["batch_size"],
    validate_every=config["validation"]["every"],
    select=config["select"],
  )
  states = train.train(stages, settings)
  log.close()
  return _evaluate(method, states, dataset, config, workdir)


def evaluate_run(workdir: Path, data_dir: str | None) -> dict[str, Any]:
  """Evaluates a finished run from its folder alone.

  Args:
    workdir: the run's folder.
    data_dir: where the test data are; None for where the run found them.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: there is no finished run, or no test data.
  """
  config = configuration.load(workdir)
  if data_dir is not None:
    config["data"]["dir"] = data_dir
  method = configuration.build_method(config)
  dataset = _open(config["data"], ("test",))
  size, channels = config["data"]["image_size"], config["data"]["channels"]
  trials = members.seeds(config["seed"], config["seeds"])
  states = scorer.restore(method, trials, (size, size, channels), workdir)
  return _evaluate(method, states, dataset, config, workdir)


def _devices(
  stages: Iterable[Stage], config: Mapping[str, Any], trials: int
) -> parallel.Devices:
  """The devices as the user wants them, checked against the largest phase."""
  trained = [stage for stage in stages if isinstance(stage, Phase)]
  members_ = max((phase.members for phase in trained), default=1) * trials
  devices = cores.devices(
    members_,
    mode=config["parallel"],
    member=config["mesh"]["member"],
    batch=config["mesh"]["batch"],
  )
  for phase in trained:
    if phase.members * trials == members_:
      devices.check(members_, phase.length.batch_size)
      break
  return devices


def _copies(devices: parallel.Devices) -> int:
  """How often what is on every device lies in one memory."""
  # Cores of a CPU that are devices share it.
  return len(devices.all) if devices.all[0].platform == "cpu" else 1


def _check_validation(config: Mapping[str, Any], method: Method) -> None:
  """Raises UserError unless what is held out and selected makes sense."""
  select, share = config["select"], config["validation"]["share"]
  known = {
    name
    for stage in method.phases()
    if isinstance(stage, Phase)
    for name in stage.monitors
  }
  if select != "last" and select not in known:
    raise UserError(
      f"select='{select}' is no rule of {config['method']}; set it to one of"
      f" {', '.join(['last', *sorted(known)])}."
    )
  if select != "last" and not share:
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


def _open(data: Mapping[str, Any], splits: tuple[str, ...]) -> spec.Dataset:
  with processes.first_before_others("data"):  # it may build and cache them
    return spec.open_dataset(
      data["name"],
      data["dir"],
      image_size=data["image_size"],
      channels=data["channels"],
      resize=data["resize"],
      need=splits,
    )


def _evaluate(method, states, dataset, config, workdir) -> dict[str, Any]:
  results = evaluation.evaluate(method, states, dataset, config, workdir)
  if processes.first():
    print(table.results_table(results))
    print(f"\nscores, figures and report.html are in {workdir}")
  return results
