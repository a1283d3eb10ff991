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
  processes,
  run,
  scorer,
  train,
  writers,
)
from medad_jax.report import table
from medad_jax.types import Fit, Method, Phase, UserError
from medad_jax.weights import pretrained


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
  data = config["data"]
  phases = method.phases()
  _check_validation(config, method)
  seeds = members.seeds_of(config["seed"], config["seeds"])
  first = next(phase for phase in phases if isinstance(phase, Phase))
  layout = cores.make_layout(
    first.members * len(seeds),
    first.training.batch_size,
    mode=config["parallel"],
    member_devices=config["mesh"]["member"],
    batch_devices=config["mesh"]["batch"],
  )
  used = index.splits_used(data["extra"], data["anomaly_ratio"])
  dataset = _open(data, (*used, "test"))
  pools = index.make_pools(
    {name: len(dataset.splits[name]) for name in used},
    extra=data["extra"],
    anomaly_ratio=data["anomaly_ratio"],
    allow_truncation=data["allow_truncation"],
  )
  pools = index.hold_out(pools, config["validation"]["share"])
  origins = _origins(phases)
  configuration.claim(workdir, config)
  _remember(workdir, origins)
  log = writers.Writers(workdir, processes.first())
  images = np.concatenate([dataset.splits[name].images for name in used])
  settings = run.Run(
    workdir=workdir,
    log=log,
    feed=feeds.choose(images, data["feed"], data["resident_mb"]),
    pools=pools,
    shape=images.shape[1:],
    seeds=seeds,
    layout=layout,
    steps_per_call=config["steps_per_call"],
    checkpoint_seconds=config["checkpoint_seconds"],
    scoring_batch=config["evaluation"]["batch_size"],
    validate_every=config["validation"]["every"],
    select=config["select"],
  )
  states = train.train(phases, settings)
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
  seeds = members.seeds_of(config["seed"], config["seeds"])
  states = scorer.restore(method, seeds, (size, size, channels), workdir)
  return _evaluate(method, states, dataset, config, workdir)


def _check_validation(config: Mapping[str, Any], method: Method) -> None:
  """Raises UserError unless what is held out and selected has a sense."""
  select, share = config["select"], config["validation"]["share"]
  if select not in ("last", "synthetic"):
    raise UserError(
      f"select='{select}' is no rule; set it to 'last' or to 'synthetic'."
    )
  validates = any(getattr(p, "validate", None) for p in method.phases())
  if not validates and (share or select == "synthetic"):
    raise UserError(
      f"{config['method']} makes no synthetic anomalies to validate with; set"
      " select to 'last' and validation.share to 0."
    )
  if select == "synthetic" and not share:
    raise UserError(
      "select='synthetic' needs normal images that are held out; set"
      " validation.share, to 0.1 say."
    )


def _origins(phases: Iterable[Phase | Fit]) -> dict[str, str]:
  """Where pretrained weights are from; an error before anything is written."""
  return {
    part: pretrained.provenance(part, origin)
    for phase in phases
    if isinstance(phase, Phase)
    for part, origin in phase.weights.items()
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
