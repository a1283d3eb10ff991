"""AUROC by step: the checkpoints that a run's validations kept, scored.

Here test labels meet checkpoints, after the training: what they choose is named
`oracle_`. What a rule without labels chooses comes from the run's own record.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import files
from medad_jax.data import columns, spec
from medad_jax.engine import (
  batched,
  checkpoint,
  ending,
  environment,
  material,
  members,
  opening,
  progress,
  scorer,
  trained,
  writers,
)
from medad_jax.engine.workdir import Workdir
from medad_jax.report.by_step import Choice, Curves, Training
from medad_jax.scoring import metrics
from medad_jax.types import Monitor, Phase, TrainState, UserError

_SCORES = "scores.npz"  # of a kept checkpoint, beside it


def curves(workdir: Path) -> Curves:
  """The headline's AUROC of every kept checkpoint of a run.

  Args:
    workdir: of a finished run that was trained with `keep_checkpoints`.

  Raises:
    UserError: there is no such run, its data are not there, or its scores need
      something that is estimated after the last phase.
  """
  folder = Workdir(workdir)
  # Before the data are opened: it decides how many devices a CPU has.
  model = trained.Trained.load(workdir)
  stages = trained.stages_of(model.settings, model.method)
  # Earlier phases have no scores of their own: later ones would be of others.
  *_, last = stages
  if not isinstance(last, Phase):
    raise UserError(
      f"{workdir} ends with the stage '{last.name}', which is estimated of the"
      " trained net and would have to be estimated anew for every checkpoint;"
      " give a run whose last stage is trained."
    )
  kept = checkpoint.kept(workdir / "checkpoints", last.name)
  if not kept:
    raise UserError(
      f"{workdir} holds no checkpoints of its validations; train with"
      " --config.keep_checkpoints in a new --workdir."
    )
  dataset = opening.open_tests(model.settings.data, folder.data())
  if "test" not in dataset.splits:
    raise UserError(f"{workdir} has no test images, which this scores.")
  folder.check_data(material.identity(dataset))
  # The middle of larger images, as in an evaluation.
  test = dataset.splits["test"].center(model.shape[0])
  scoring = _Scoring(model, last, test, _made_by(dataset))
  steps, scores = sorted(kept), []
  title = f"checkpoints of {workdir.name}"
  with progress.Progress(title, len(steps), unit="checkpoint") as bar:
    for step in steps:
      scores.append(scoring.kept(kept[step]))
      bar.add(1)
  seen = _Seen(last, len(model.trials), _monitored(workdir, last, steps), kept)
  return Curves(
    run=workdir.name,
    method=model.config["method"],
    dataset=dataset.name,
    score=scoring.headline,
    steps=tuple(steps),
    trainings=tuple(_trainings(model, scoring, seen, steps, scores)),
  )


class _Scoring:
  """Scores of the test images with other states of the last phase.

  Args:
    model: the finished run.
    phase: the last one.
    test: what is scored.
    made_by: identifies all that decides scores, besides the run.
  """

  def __init__(
    self,
    model: trained.Trained,
    phase: Phase,
    test: spec.Split,
    made_by: str,
  ):
    self._made_by = made_by
    *_, self.headline = model.method.score_names
    self._model, self._phase, self.test = model, phase, test
    function = scorer.score_function(model.method, len(model.trials))

    def headline(states, batch):
      found = function(states, batch).scores.image
      # A run that stopped after a stage lacks the scores of later ones.
      *_, name = [n for n in model.method.score_names if n in found]
      # Alone, so that the compiler drops what only other scores need.
      return {name: found[name]}

    # One program for all checkpoints.
    self._batched = batched.Batched(
      headline,
      model.settings.evaluation.batch_size,
      model.devices,
    )
    self._codes = columns.encode(test.columns, model.codes, len(test))

  @functools.cached_property
  def target(self) -> TrainState:
    """Shapes of the phase's states."""
    # Kept: every checkpoint is restored into it, and its nets are traced.
    model = self._model
    who = {
      stage.name: members.of_stage(stage, model.trials)
      for stage in model.method.phases()
    }
    earlier = {k: (who[k], model.states[k]) for k in self._phase.reads}
    return members.abstract_states(
      self._phase, model.trials, model.shape, earlier
    )

  def kept(self, saved: checkpoint.Checkpoints) -> np.ndarray:
    """Scores of a checkpoint, once for all: they stay beside it."""
    path = saved.folder / _SCORES
    # Absent, damaged, or of a version that had other names.
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
      with path.open("rb") as file, np.load(file) as found:
        if found["made_by"].item() == self._made_by:
          self.headline = found["headline"].item()
          return found["scores"]
    scores = self.scores(saved.final(self.target))
    # Where nothing may be written they are made again another time.
    with contextlib.suppress(UserError), files.replacing(path) as out:
      beside = {"made_by": self._made_by, "headline": self.headline}
      stored: dict[str, Any] = {"scores": scores, **beside}
      np.savez(out, **stored)
    return scores

  def scores(self, states: TrainState) -> np.ndarray:
    """The headline's scores [n s]."""
    # Imported nets and earlier stages are those of the finished run.
    every = {**self._model.states, self._phase.name: states}
    placed = self._batched.place(every)
    found = self._batched.whole(placed, self.test.images, self._codes)
    [(self.headline, scores)] = found.items()
    return scores


@dataclasses.dataclass(frozen=True)
class _Seen:
  """A run's own record of its kept checkpoints, without labels.

  Attributes:
    phase: the last one.
    trials: trainings.
    monitored: values [step member] of each monitor, by its name.
    kept: checkpoints by step.
  """

  phase: Phase
  trials: int
  monitored: Mapping[str, np.ndarray]
  kept: Mapping[int, checkpoint.Checkpoints]

  def choices(self, steps: Sequence[int]) -> dict[str, np.ndarray]:
    """The step [member] that each rule chooses; the last one comes first."""
    count = self.phase.members * self.trials
    found = {ending.LAST: np.full(count, steps[-1])}
    for name, values in self.monitored.items():
      sign = 1 if self.phase.monitors[name].higher_is_better else -1
      # As in training: ties go to the earlier states, and NaN never wins.
      ranked = np.where(np.isnan(values), -np.inf, sign * values)
      found[name] = np.array(steps)[ranked.argmax(0)]
    return found

  def mean(self, target: TrainState) -> TrainState:
    """The states that a run with select=average ends with."""
    *_, last = self.kept.values()
    ends = np.asarray(last.final(target).step).tolist()
    found = None
    for one in self.kept.values():
      found = ending.averaged(found, one.final(target), ends)
    assert found is not None  # the last one is in the second half
    return found["states"]

  def states(self, chosen: np.ndarray, target: TrainState) -> TrainState:
    """The states in which every member is at its own step."""
    parts = {s: self.kept[s].final(target) for s in set(chosen.tolist())}
    # Keys of draws belong to the states: they move along.
    rows = [
      jax.tree.map(lambda x, row=row: x[row], parts[step])
      for row, step in enumerate(chosen.tolist())
    ]
    return jax.tree.map(lambda *xs: jnp.stack(xs), *rows)


def _made_by(dataset: spec.Dataset) -> str:
  """A hash of the code, the libraries, the devices and the images."""
  code = hashlib.sha256()
  root = Path(__file__).parents[1]
  # An installed package has no commit, and a changed tree has no new one.
  for path in sorted(root.rglob("*.py")):
    code.update(path.read_bytes())
  # Kinds and not how many: the next start may be given fewer of them.
  kinds = sorted({device.device_kind for device in jax.devices()})
  of = environment.versions(), kinds, material.identity(dataset)
  return hashlib.sha256(f"{code.hexdigest()} {of}".encode()).hexdigest()


def _trainings(
  model: trained.Trained,
  scoring: _Scoring,
  seen: _Seen,
  steps: Sequence[int],
  scores: Sequence[np.ndarray],
) -> Iterator[Training]:
  """Curve and choices of every training."""
  test = scoring.test
  patients = columns.patients(test.columns)
  chosen = list(_chosen(scoring, seen, steps, scores))
  for t, trial in enumerate(model.trials):
    areas = tuple(_area(test, one[:, t]) for one in scores)
    made = []
    for rule, own, found in chosen:
      ranking = metrics.rank(test.labels, found[:, t], patients)
      area = _area(test, found[:, t])
      made.append(Choice(rule, tuple(own[t].tolist()), area, ranking.auroc_ci))
    yield Training(trial.seed, areas, tuple(made))


def _chosen(
  scoring: _Scoring,
  seen: _Seen,
  steps: Sequence[int],
  scores: Sequence[np.ndarray],
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
  """Every rule, its steps [training ...] and its scores [n training]."""
  for rule, at in seen.choices(steps).items():
    # Members are trial after trial, and each may be at a step of its own.
    own = np.reshape(at, (seen.trials, -1))
    # Where each training is at one step, its scores are known already.
    if (own == own[:, :1]).all():
      places = [steps.index(step) for step in own[:, 0].tolist()]
      found = np.stack([scores[p][:, t] for t, p in enumerate(places)], 1)
    else:
      found = scoring.scores(seen.states(at, scoring.target))
    yield rule, own, found
  # Of the longest members; one with fewer steps has an earlier second half.
  half = [step for step in steps if 2 * step >= steps[-1]]
  found = scoring.scores(seen.mean(scoring.target))
  yield ending.AVERAGE, np.tile(half, (seen.trials, 1)), found


def _area(test: spec.Split, scores: np.ndarray) -> float:
  found = metrics.auroc(test.labels, scores)
  if found is None:
    raise UserError(
      "the test images are all of one class, so that no AUROC is defined; give"
      " a run whose set has both."
    )
  return found


def _monitored(
  workdir: Path, phase: Phase, steps: Sequence[int]
) -> dict[str, np.ndarray]:
  """Values of every monitor at the steps, [step member]; of those recorded."""
  records = [r for r in writers.records(workdir) if r["phase"] == phase.name]
  found = {}
  for name, monitor in phase.monitors.items():
    values = _of(records, monitor)
    # A run that changed its monitors on the way knows no choice.
    if all(step in values for step in steps):
      found[name] = np.array([values[step] for step in steps], float)
  return found


def _of(
  records: Sequence[Mapping[str, Any]], monitor: Monitor
) -> dict[int, list[float | None]]:
  label = monitor.label
  return {r["step"]: r[label] for r in records if label in r}
