"""Validation without labels: monitors of held-out normal images."""

import dataclasses
from typing import Any

import jax
import numpy as np

from medad_jax import rng
from medad_jax.data import index
from medad_jax.engine import batched, checkpoint, run
from medad_jax.types import Phase, TrainState


class Validation:
  """Measures a phase's members now and then, and remembers the best.

  A member's synthetic anomalies are the same at every measurement. Nothing is
  measured where the phase has no monitor or no image was held out. Where the
  run keeps checkpoints, the states of every measurement stay, and of as many
  steps without one.

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
    self._monitors = phase.monitors if len(held_out) else {}
    self._chosen = self._monitors.get(settings.select)
    self._select = settings.select
    self._phase, self._log = phase.name, settings.log
    self._every = settings.validate_every * epoch_steps
    self._best: dict[str, Any] | None = None
    self._folder = settings.workdir / "checkpoints"
    self._keeps = settings.keep_checkpoints
    if not self._monitors:
      return
    self._images = settings.images[held_out]
    self._columns = {
      name: settings.columns[name][held_out] for name in phase.inputs.columns
    }
    self._batched = batched.Batched(
      self._values, settings.scoring_batch, settings.devices
    )
    self._saved = checkpoint.Checkpoints(self._folder, f"{phase.name}_best")
    if self._chosen is not None:
      self._best = self._remembered(target)

  def due(self, start: int, stop: int, last: int) -> bool:
    """True if a measurement is due after steps [start, stop) of `last`."""
    if not (self._monitors or self._keeps):
      return False
    # A call of several steps may pass a multiple without ending on it.
    return start // self._every < stop // self._every or stop == last

  def measure(self, step: int, states: TrainState) -> None:
    """Writes the members' values, and keeps the states of the best."""
    # Before anything is chosen: what is kept does not depend on the rule.
    if self._keeps:
      checkpoint.keep(self._folder, self._phase, step, states)
    if not self._monitors:
      return
    # Monitors read no optimizer, which would be copied to every device.
    states = dataclasses.replace(states, opt={})
    # An image's partner is a row number, whatever the batch and the devices.
    partners = np.roll(self._images, 1, 0)
    placed = self._batched.place(states)
    beside = {"source": partners, **self._columns}
    found = self._batched.whole(placed, self._images, beside)
    values = {
      name: [
        monitor.summary({k: v[:, member] for k, v in found[name].items()})
        for member in range(len(states.step))
      ]
      for name, monitor in self._monitors.items()
    }
    labels = {name: m.label for name, m in self._monitors.items()}
    self._log.scalars(
      self._phase, step, {labels[name]: v for name, v in values.items()}
    )
    if self._chosen is not None:
      sign = 1 if self._chosen.higher_is_better else -1
      self._keep(step, sign * np.asarray(values[self._select]), states)

  def chosen(self, states: TrainState) -> TrainState:
    """The states that the phase ends with."""
    return states if self._best is None else self._best["states"]

  def clear(self) -> None:
    """Removes what was remembered on the way."""
    if self._chosen is not None:
      self._saved.remove()

  def _values(self, states, batch) -> dict[str, dict[str, jax.Array]]:
    """The values of all monitors, each [b k]."""

    def member(state):
      # Without the step: the same anomalies every time, so values compare.
      key = rng.stream(state.key, "validation")
      return {
        name: monitor.values(state, batch, key)
        for name, monitor in self._monitors.items()
      }

    return jax.vmap(member, out_axes=1)(states)

  def _keep(self, step: int, values: np.ndarray, states: TrainState) -> None:
    """Keeps every member's best states so far; ties go to the earlier ones."""
    best = self._best or {"values": np.full(len(values), -np.inf)}
    # Strictly better: ties go to the earlier states, and NaN never wins.
    better = values > best["values"]
    if not better.any():
      return
    if not better.all():
      worse = np.flatnonzero(~better)
      states = jax.tree.map(
        # Members reach their best at different steps.
        lambda new, old: new.at[worse].set(old[worse]),
        states,
        best["states"],
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
