"""A search over configurations by cross-validation, without a test image.

Every configuration is trained on every fold and measured along the way.
Configurations that differ only in numbers are trials of one program. Each
program has a folder of its own, and the search goes on where it was stopped.

  search.json   what is searched; ties the folder to it
  programs/N    measurements of the N-th program; checkpoints while it trains
  table.csv     what every configuration is worth
  search.png    the measurements over steps
  final.py      the chosen configuration, for `main`
"""

from collections.abc import Mapping, Sequence
import contextlib
import csv
import dataclasses
import hashlib
import io
import json
from pathlib import Path
import shutil
from typing import Any

import jax
import numpy as np

from medad_jax import files
from medad_jax.data import folds
from medad_jax.engine import config as configuration
from medad_jax.engine import (
  ending,
  feasible,
  final_config,
  fold_data,
  members,
  processes,
  run,
  selection,
  space,
  train,
  trained,
  writers,
)
from medad_jax.engine.devices import Devices
from medad_jax.engine.meter import Meter, Stopped
from medad_jax.engine.settings import Settings
from medad_jax.engine.workdir import (
  Workdir,
  check_same,
  tell_lacking,
)
from medad_jax.report import choice
from medad_jax.types import Phase, Stage, UserError

_REMEDY = "search in another --workdir"


@dataclasses.dataclass(frozen=True)
class Options:
  """Options of a search.

  Attributes:
    rule: what the choice is by, of `selection.RULES`.
    stopping: how lengths are chosen.
    every: steps from one measurement to the next; None for
      `validation.every` epochs.
    most: configurations of one program.
  """

  rule: str = "anomalies"
  stopping: selection.Stopping = selection.Stopping()
  every: int | None = None
  most: int = 64


@dataclasses.dataclass(frozen=True)
class _Program:
  """Configurations that train together."""

  group: space.Group
  config: Mapping[str, Any]
  settings: Settings
  stages: Sequence[Stage]
  folder: Path

  @property
  def members(self) -> int:
    """The most that train at once, for each trial."""
    return max(
      (s.members for s in self.stages if isinstance(s, Phase)), default=1
    )


def search(
  config: configuration.Config,
  axes: Sequence[space.Axis],
  found: folds.Folds,
  workdir: Path,
  options: Options = Options(),
) -> choice.Choice:
  """Measures all configurations of a grid, or goes on, and chooses one.

  Args:
    config: what the grid changes.
    axes: of the grid.
    found: the folds.
    workdir: the search's folder.
    options: how.

  Returns:
    What table.csv holds.

  Raises:
    UserError: the grid, the folds or the folder do not fit, or every training
      has diverged.
  """
  # All points are checked before the first is trained.
  grid = space.points(config, axes)
  programs = [
    _program(config, group, workdir / "programs" / str(number))
    for number, group in enumerate(space.groups(config, grid, options.most))
  ]
  count = len(found.folds)
  largest = max(programs, key=lambda p: len(p.group.hyper) * p.members)
  # Once for all, as a CPU is split into devices before its first use.
  devices = trained.devices_of(
    dataclasses.replace(
      largest.settings, seeds=len(largest.group.hyper) * count
    ),
    largest.stages,
  )
  meters: dict[int, Meter] = {}
  measured: dict[int, selection.Measured] = {}
  with Workdir(workdir).locked():
    _claim(workdir, config, grid, found, options)
    for number, program in enumerate(programs):
      print(
        f"program {number + 1} of {len(programs)}:"
        f" {len(program.group.numbers)} configuration(s) on {count} folds"
      )
      meter = _measure(program, found, options, devices)
      numbers = program.group.numbers
      measured |= dict(zip(numbers, meter.measured(), strict=True))
      meters |= dict.fromkeys(numbers, meter)
    return _choose(config, grid, measured, meters, workdir, options)


def _program(
  config: configuration.Config, group: space.Group, folder: Path
) -> _Program:
  # A part of the stages has no scores to choose by.
  whole = configuration.with_hyper(config, {**group.fixed, "until": None})
  settings = configuration.settings_of(whole)
  if settings.select != ending.LAST:
    raise UserError(
      f"select='{settings.select}' was given, and a search measures the states"
      " of a step as they are; leave it out, and give it to the final training."
    )
  stages = trained.stages_of(settings, configuration.build_method(whole))
  return _Program(group, whole, settings, stages, folder)


def _claim(
  workdir: Path,
  config: configuration.Config,
  grid: Sequence[space.Point],
  found: folds.Folds,
  options: Options,
) -> None:
  """Ties the folder to this search, or checks that it is."""
  # A hash, as the rows themselves stand in the folds' own file.
  lists = json.dumps(
    [[rows.tolist() for rows in vars(fold).values()] for fold in found.folds]
  )
  own = {
    "config": configuration.decisive(config),
    "grid": [dict(point) for point in grid],
    "folds": hashlib.sha256(lists.encode()).hexdigest(),
    "stopping": dataclasses.asdict(options.stopping),
    "every": options.every,
  }
  own = json.loads(json.dumps(own))  # as it comes back
  path = workdir / "search.json"
  if path.exists():
    before = files.read_json(path, _REMEDY)
    check_same(_config(path, before), config, f"{workdir} holds a search")
    differ = [
      name for name in own if name != "config" and before.get(name) != own[name]
    ]
    if differ:
      raise UserError(
        f"{workdir} holds another search, which differs in"
        f" {', '.join(differ)}; give the same, or another --workdir."
      )
  if processes.first():  # anew, as fields may have come
    files.write_json(path, own)


def _config(path: Path, saved: Mapping[str, Any]) -> dict[str, Any]:
  """The configuration in a search's file, with fields newer than the search.

  Raises:
    UserError: this version lacks a field of it, or there is none.
  """
  found = saved.get("config")
  if not (isinstance(found, dict) and isinstance(found.get("method"), str)):
    raise UserError(f"{path} names no method; {_REMEDY}.")
  try:
    whole, lacking = configuration.completed(found)
  except UserError as error:
    raise UserError(
      f"{path} is of another version of medad_jax ({error}); use that version,"
      f" or {_REMEDY}."
    ) from error
  # Fields that decide nothing are not in the file.
  decide = configuration.decisive(whole)
  tell_lacking(path, [field for field in lacking if field.name in decide])
  return whole


def _measure(
  program: _Program,
  found: folds.Folds,
  options: Options,
  devices: Devices,
) -> Meter:
  """Trains a program's trials, unless that was done, and measures them."""
  group, settings, stages = program.group, program.settings, program.stages
  # One seed for all: configurations start from the same weights and see the
  # images of a fold in the same order, so that only their values differ.
  trials = tuple(
    members.Trial(settings.seed, hyper, str(fold))
    for hyper in group.hyper
    for fold in range(len(found.folds))
  )

  def method_of(hyper):
    # While a program is traced, the numbers are arrays.
    changed = configuration.with_hyper(program.config, hyper)
    return configuration.build_method(changed)

  material = fold_data.material(settings.data, found, stages, devices)
  meter = Meter(
    stages,
    method_of,
    group.hyper,
    group.scores,
    material,
    program.folder / "measured.json",
    options.every,
    options.stopping,
  )
  # By its own file and not by checkpoints, which are gone by then.
  if meter.finished:
    return meter
  _train(program, meter, trials, devices)
  meter.finish()
  jax.clear_caches()  # the next program is another one
  # The final training starts anew, on all images.
  shutil.rmtree(program.folder / "checkpoints", ignore_errors=True)
  return meter


def _train(
  program: _Program, meter: Meter, trials: members.Trials, devices: Devices
) -> None:
  """Trains and measures, or goes on, until patience or the steps have ended."""
  settings, stages, material = program.settings, program.stages, meter.material
  feasible.check(
    program.config,
    # Memory is counted by trainings, whatever they differ in.
    dataclasses.replace(settings, seeds=len(trials)),
    stages,
  )
  feasible.check_steps(stages, material.pools, trials)
  with contextlib.closing(
    writers.Writers(program.folder, processes.first())
  ) as log:
    shared = run.Run(
      workdir=program.folder,
      log=log,
      feed=material.feed,
      pools=material.pools,
      shape=settings.data.shape,
      trials=trials,
      devices=devices,
      steps_per_call=settings.steps_per_call,
      checkpoint_seconds=settings.checkpoint_seconds,
      scoring_batch=settings.evaluation.batch_size,
      validate_every=settings.validation.every,
      columns=material.columns,
      # Without numbers of their own, all trials are of the configured method.
      method_of=meter.method_of if meter.hyper[0] else None,
      view=settings.data.view,
      watch=meter.watch,
    )
    with contextlib.suppress(Stopped):
      states = train.train(stages, shared)
      if not any(isinstance(stage, Phase) for stage in stages):
        meter.measure(shared, 0, states)  # in closed form: there is one length


def _choose(
  config: configuration.Config,
  grid: Sequence[space.Point],
  measured: Mapping[int, selection.Measured],
  meters: Mapping[int, Meter],
  workdir: Path,
  options: Options,
) -> choice.Choice:
  """Writes what was found, and the configuration to train."""
  outcomes = [
    selection.outcome(measured[n], options.stopping, options.rule)
    for n in range(len(grid))
  ]
  chosen = selection.best(outcomes, options.rule)
  if chosen is None:
    raise UserError(
      f"no configuration of {workdir} can be chosen by '{options.rule}': every"
      " training has diverged; lower the learning rates, in another --workdir."
    )
  found = choice.Choice(
    tuple(map(space.described, grid)),
    tuple(
      choice.Row(
        one.length,
        one.stops,
        {rule: one.values[rule] for rule in selection.RULES},
      )
      for one in outcomes
    ),
    {rule: selection.best(outcomes, rule) for rule in selection.RULES},
    options.rule,
  )
  # Means over folds, in which a fold that diverged leaves a gap.
  curves = {
    rule: [
      (measured[n].steps, np.mean(measured[n].values[rule], 1))
      for n in range(len(grid))
    ]
    for rule in selection.RULES
  }
  if processes.first():
    files.write(workdir / "table.csv", _csv(grid, found))
    final = _final(
      config,
      grid[chosen],
      outcomes[chosen].length,
      meters[chosen],
      f"Chosen by {options.rule} in {workdir.name}: {found.names[chosen]}.",
    )
    files.write(workdir / "final.py", final)
    print("\n" + choice.text_table(found))
    # Last: drawing may fail, and everything else is there by then.
    files.write(workdir / "search.png", choice.picture(found, curves))
    print(f"\ntrain it with --config={workdir / 'final.py'}")
  return found


def _final(
  config: configuration.Config,
  point: space.Point,
  length: int | None,
  meter: Meter,
  origin: str,
) -> str:
  """The file of the chosen configuration, with its length."""
  whole = configuration.with_hyper(config, point)
  if length:  # an estimate in closed form has none
    whole = final_config.with_length(
      whole, meter.phase, length, meter.epoch_steps
    )
  return final_config.text(whole, origin)


def _csv(grid: Sequence[space.Point], found: choice.Choice) -> str:
  file = io.StringIO()
  out = csv.writer(file, lineterminator="\n")
  rules = list(selection.RULES)
  out.writerow(
    [
      *grid[0],
      "steps",
      "steps of folds",
      *rules,
      *(f"{r} of folds" for r in rules),
    ]
  )
  for point, row in zip(grid, found.rows, strict=True):
    means = [float(np.mean(row.values[r])) if row.steps else "" for r in rules]
    each = [" ".join(map(str, row.values[r])) for r in rules]
    stops = " ".join(map(str, row.steps))
    out.writerow([*point.values(), row.length, stops, *means, *each])
  return file.getvalue()
