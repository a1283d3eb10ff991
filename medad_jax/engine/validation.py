"""Validation without labels: held-out normal images, synthetic anomalies."""

import dataclasses
from typing import Any

import jax
import numpy as np

from medad_jax import rng
from medad_jax.data import index
from medad_jax.engine import batched, checkpoint, run
from medad_jax.scoring import metrics
from medad_jax.types import Phase, TrainState

METRIC = "synthetic_auroc"


class Validation:
  """Measures a phase's members now and then, and remembers the best.

  The anomalies are the same at every measurement. Nothing is measured where
  the phase makes none or no image was held out.

  Args:
    phase: what is trained.
    settings: how and on what.
    epoch_steps: steps of an epoch.
    target: shapes of the members' states, to restore the best into.
  """

  def __init__(
    self,
    phase: Phase,
    settings: run.Run,
    epoch_steps: int,
    target: TrainState,
  ):
    held_out = settings.pools.get(index.HELD_OUT, np.arange(0))
    self._active = phase.validate is not None and len(held_out) > 0
    self._selects = self._active and settings.select == "synthetic"
    self._phase, self._log = phase.name, settings.log
    self._every = settings.validate_every * epoch_steps
    self._best: dict[str, Any] | None = None
    if not self._active:
      return
    self._images = settings.feed.images[held_out]
    key = rng.stream(jax.random.key(settings.seeds[0]), "validation")

    def scores(states, batch):
      return jax.vmap(phase.validate, (0, None, None), 1)(states, batch, key)

    self._scores = batched.Batched(
      scores, settings.scoring_batch, settings.layout.mode
    )
    self._saved = checkpoint.Checkpoints(
      settings.workdir / "checkpoints", f"{phase.name}_best"
    )
    if self._selects:
      self._best = self._remembered(target)

  def due(self, start: int, stop: int, last: int) -> bool:
    """Whether to measure after the steps [start, stop) of a phase's `last`."""
    if not self._active:
      return False
    return start // self._every < stop // self._every or stop == last

  def measure(self, step: int, states: TrainState) -> None:
    """Writes the members' AUROCs, and keeps the states of the best."""
    states = dataclasses.replace(states, opt={})
    found = self._scores.whole(self._scores.place(states), self._images)
    both = np.concatenate([found["normal"], found["synthetic"]])
    labels = np.repeat([0, 1], len(self._images))
    values = [metrics.auroc(labels, scores) for scores in both.T]
    self._log.scalars(self._phase, step, {METRIC: values})
    if self._selects:
      self._keep(step, np.asarray(values), states)

  def chosen(self, states: TrainState) -> TrainState:
    """The states that the phase ends with."""
    return states if self._best is None else self._best["states"]

  def clear(self) -> None:
    """Removes what was remembered on the way."""
    if self._selects:
      self._saved.remove()

  def _keep(self, step: int, values: np.ndarray, states: TrainState) -> None:
    """Every member's best so far; the first of equal ones."""
    best = self._best or {"values": np.full(len(values), -1.0)}
    better = values > best["values"]
    if not better.any():
      return
    if not better.all():
      worse = np.flatnonzero(~better)
      states = jax.tree.map(
        lambda new, old: new.at[worse].set(old[worse]), states, best["states"]
      )
    values = np.where(better, values, best["values"])
    # A copy: the next step takes the memory of these.
    copied = jax.tree.map(lambda x: x.copy(), states)
    self._best = {"values": values, "states": copied}
    self._saved.save(step, self._best)

  def _remembered(self, target: TrainState) -> dict[str, Any] | None:
    """The best of an earlier run, None where there is none.

    It may be ahead of the checkpoint that the run goes on from: then the same
    measurements come again, and none of them is better.
    """
    step = self._saved.latest()
    if step is None:
      return None
    values = np.zeros(len(target.step))
    states = dataclasses.replace(target, opt={})
    return self._saved.restore(step, {"values": values, "states": states})
