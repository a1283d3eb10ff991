"""Measurements of trials on their folds, along their training."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
import numpy as np

from medad_jax import files
from medad_jax.engine import (
  batched,
  fit,
  fold_data,
  members,
  scorer,
  selection,
)
from medad_jax.engine.run import Run, States
from medad_jax.scoring import metrics
from medad_jax.types import Fit, Method, Phase, Stage, TrainState, UserError


class Stopped(Exception):
  """All trials have ended by early stopping, before their last step."""


@dataclasses.dataclass(eq=False)
class Meter:
  """Measures the trials of one program; kept in a file, as the run resumes.

  Trials are points of a grid, and for each point its folds; or the folds of
  one training, of whose scores each is a point's.

  Attributes:
    stages: of the method.
    method_of: the method with numbers of a trial in place.
    hyper: these numbers, of each training.
    scores: of the only training, one for each point; none for the headline.
    material: the data.
    path: where measurements are kept.
    every: steps from one to the next; None for the run's epochs.
    stopping: when a training ends.
  """

  stages: Sequence[Stage]
  method_of: Callable[[Mapping[str, Any]], Method]
  hyper: Sequence[Mapping[str, float]]
  scores: Sequence[str]
  material: fold_data.Material
  path: Path
  every: int | None
  stopping: selection.Stopping

  def __post_init__(self):
    self._kept: dict[str, Any] = {"finished": False, "steps": {}}
    if self.path.exists():
      remedy = "remove it to train these configurations again"
      self._kept = files.read_json(self.path, remedy)
    # Made at the first measurement, as it needs the run's devices.
    self._scorer: batched.Batched | None = None

  @property
  def phase(self) -> str:
    """The name of the phase that is measured, the last one."""
    return [s.name for s in self.stages if isinstance(s, Phase)][-1]

  @property
  def epoch_steps(self) -> int:
    """Steps of its epoch, in the fold that trains on most images."""
    return self._kept["epoch_steps"]

  @property
  def finished(self) -> bool:
    """True if all was measured."""
    return self._kept["finished"]

  def finish(self) -> None:
    """Notes that all was measured."""
    self._kept["finished"] = True
    files.write_json(self.path, self._kept)

  def measured(self) -> list[selection.Measured]:
    """The measurements of each point.

    Raises:
      UserError: the file is damaged.
    """
    # By their number: a resumed program measures some steps once more, with
    # the same values, and JSON has texts for keys.
    steps = sorted(map(int, self._kept["steps"]))
    try:
      values = {
        rule: np.array(
          [self._kept["steps"][str(step)][rule] for step in steps], float
        )
        for rule in selection.RULES
      }
      return [
        selection.Measured(
          tuple(steps), {rule: v[:, point] for rule, v in values.items()}
        )
        for point in range(len(self.scores) or len(self.hyper))
      ]
    except (KeyError, IndexError, ValueError) as error:
      raise UserError(
        f"{self.path} is damaged ({error}); remove it to train these"
        " configurations again."
      ) from error

  def watch(
    self,
    phase: Phase,
    run: Run,
    epoch_steps: int,
    steps: Sequence[int],
    target: TrainState,
  ) -> "Watch":
    """The observer of a phase; see `Run.watch`."""
    del steps, target  # nothing is chosen while it trains
    # Scores need the whole method: only its last phase has all stages.
    if phase.name != self.phase:
      return Watch(self, phase, run, None)
    self._kept["epoch_steps"] = epoch_steps
    every = self.every or run.validate_every * epoch_steps
    return Watch(self, phase, run, every)

  def measure(self, run: Run, step: int, states: States) -> None:
    """Scores the images of every fold, and keeps what they say.

    Args:
      run: the program's.
      step: optimizer steps behind the states.
      states: of all stages, members first, trial after trial.

    Raises:
      Stopped: patience has ended for all trials.
    """
    values = np.stack(
      [
        _values(scored, self._scores(run, states, number))
        for number, scored in enumerate(self.material.folds)
      ],
      -1,
    )
    # NaN is no JSON; `measured` reads None as NaN.
    self._kept["steps"][str(step)] = {
      rule: [[x if np.isfinite(x) else None for x in row] for row in one]
      for rule, one in zip(selection.RULES, values.tolist(), strict=True)
    }
    # At once: an hour of training lies between two measurements, perhaps.
    files.write_json(self.path, self._kept)
    # A program goes on while one of its trials does. Those that have ended
    # train for nothing, which costs less than a program for each.
    if self.stopping.kind == "early" and all(
      self.stopping.early(column)[1]
      for one in self.measured()
      for column in one.values["validation_loss"].T.tolist()
    ):
      raise Stopped

  def _scores(self, run: Run, states: States, fold: int) -> np.ndarray:
    """Scores [n points] of a fold's images by the trials that trained on it."""
    points, trials = len(self.hyper), len(run.trials)
    packed = {
      "states": {
        name: _of_fold(dataclasses.replace(x, opt={}), fold, points, trials)
        for name, x in states.items()
      },
      "hyper": {
        name: jnp.array([one[name] for one in self.hyper], jnp.float32)
        for name in self.hyper[0]
      },
    }
    # One for all folds and measurements, and so compiled once: each fold has
    # as many points, and batches have one size.
    if self._scorer is None:
      self._scorer = batched.Batched(
        self._function, run.scoring_batch, run.devices
      )
    scored = self.material.folds[fold]
    placed = self._scorer.place(packed)
    return self._scorer.whole(placed, scored.images, scored.codes)

  def _function(self, packed, batch):
    """(trainings' states and numbers, batch) -> scores [b points]."""

    def one(packed, batch):
      # Its score may depend on a trial's numbers, as a weight of a loss does.
      method = self.method_of(packed["hyper"])
      # What else it makes, such as maps, the compiler leaves out.
      found = scorer.score_function(method, 1)(packed["states"], batch)
      names = self.scores or method.score_names[-1:]
      return jnp.stack([found.scores.image[name][:, 0] for name in names], 1)

    # One of both has length 1.
    return jnp.concatenate(jax.vmap(one, (0, None))(packed, batch), 1)


# One program for all folds and for all arrays of a stage, which lie on the same
# devices: dozens of small ones take seconds to compile.
@functools.partial(jax.jit, static_argnums=(2, 3))
def _of_fold(
  states: TrainState, fold: int | Int[Array, ""], points: int, trials: int
) -> TrainState:
  """The states [points k ...] of the trials that trained on a fold."""

  # Trials are points of the grid, and within each the folds in their order.
  def own(x):
    return x.reshape(points, trials // points, *x.shape[1:])[:, fold]

  return jax.tree.map(own, members.by_trial(states, trials))


class Watch:
  """Measures one phase; see `run.Observer`.

  Args:
    meter: measures.
    phase: what is trained.
    run: how and on what.
    every: steps from one measurement to the next; None for no measurement.
  """

  def __init__(self, meter: Meter, phase: Phase, run: Run, every: int | None):
    self._meter, self._phase, self._run = meter, phase, run
    self._every = every
    self._earlier: States | None = None

  def due(self, start: int, stop: int, last: int) -> bool:
    """True if a measurement is due after steps [start, stop) of `last`."""
    if self._every is None:
      return False
    # A call of several steps may pass a multiple without ending on it.
    return start // self._every < stop // self._every or stop == last

  def measure(self, step: int, states: TrainState) -> None:
    """Measures these states with those of all other stages."""
    run, stages = self._run, self._meter.stages
    names = [stage.name for stage in stages]
    number = names.index(self._phase.name)
    if self._earlier is None:
      # Finished, so that their checkpoints are there.
      self._earlier = scorer.restore(
        stages[:number], run.trials, run.shape, run.workdir
      )
    whole = {**self._earlier, self._phase.name: states}
    # Estimates that follow, such as densities of features, are made of these
    # states, and made anew each time.
    for stage in stages[number + 1 :]:
      assert isinstance(stage, Fit)  # nothing is trained behind the last phase
      earlier = {
        name: (
          members.of_stage(stages[names.index(name)], run.trials),
          whole[name],
        )
        for name in stage.reads
      }
      whole[stage.name] = fit.estimate(stage, run, earlier)
    self._meter.measure(run, step, whole)

  def chosen(self, states: TrainState) -> TrainState:
    """The states that the phase ends with: the last ones."""
    return states

  def clear(self) -> None:
    """Removes nothing: measurements are what a search is for."""


def _values(scored: fold_data.Scored, scores: np.ndarray) -> np.ndarray:
  """Values [rules points] of scores [n points] by the rules of `selection`."""
  parts = scored.parts(np.asarray(scores, float))
  found = []
  for point in range(scores.shape[1]):
    own = {name: values[:, point] for name, values in parts.items()}
    by_rule = {
      "anomalies": _auroc(own["normal"], own["anomalies"]),
      "validation_loss": float(np.mean(own["validation"])),
      "synthetic": _auroc(own["validation"], own["synthetic"]),
    }
    found.append([by_rule[rule] for rule in selection.RULES])
  return np.array(found).T


def _auroc(normal: np.ndarray, abnormal: np.ndarray) -> float:
  scores = np.concatenate([normal, abnormal])
  if not np.isfinite(scores).all():
    return np.nan  # a training has diverged
  labels = np.repeat([0, 1], [len(normal), len(abnormal)])
  found = metrics.auroc(labels, scores)
  return np.nan if found is None else found
