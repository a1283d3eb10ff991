"""Validation without labels: monitors of held-out normal images."""

from collections.abc import Sequence
import dataclasses

import jax
import numpy as np

from medad_jax import rng
from medad_jax.data import index
from medad_jax.engine import batched, checkpoint, ending, parallel, run
from medad_jax.types import Phase, TrainState


class Validation:
  """Measures a phase's members now and then, and remembers what is chosen.

  A member's synthetic anomalies are the same at every measurement. Nothing is
  measured where the phase has no monitor or no image was held out. Where the
  run keeps checkpoints, the states of every measurement stay, and of as many
  steps without one; so does their mean where it is the run's choice.

  Args:
    phase: what is trained.
    settings: how and on what.
    epoch_steps: steps of an epoch.
    steps: of every member in the whole phase.
    target: shapes of the members' states, to restore what was remembered.
  """

  def __init__(
    self,
    phase: Phase,
    settings: run.Run,
    epoch_steps: int,
    steps: Sequence[int],
    target: TrainState,
  ):
    held_out = settings.pools.get(index.HELD_OUT, np.arange(0))
    self._monitors = phase.monitors if len(held_out) else {}
    self._phase, self._log = phase.name, settings.log
    self._every = settings.validate_every * epoch_steps
    self._folder = settings.workdir / "checkpoints"
    self._keeps = settings.keep_checkpoints
    self._rule: ending.Rule | None = None
    if settings.select == ending.AVERAGE:
      self._rule = ending.Average(self._folder, phase.name, steps, target)
    elif monitor := self._monitors.get(settings.select):
      sign = 1 if monitor.higher_is_better else -1
      named = self._folder, phase.name, settings.select
      self._rule = ending.Best(*named, sign, target)
    if not self._monitors:
      return
    self._images = settings.images[held_out]
    self._columns = {
      name: settings.columns[name][held_out] for name in phase.inputs.columns
    }
    self._batched = batched.Batched(
      self._values, settings.scoring_batch, settings.devices
    )

  def due(self, start: int, stop: int, last: int) -> bool:
    """True if a measurement is due after steps [start, stop) of `last`."""
    if not (self._monitors or self._keeps or self._rule):
      return False
    # A call of several steps may pass a multiple without ending on it.
    return start // self._every < stop // self._every or stop == last

  def measure(self, step: int, states: TrainState) -> None:
    """Writes the members' values, and remembers what the rule asks for."""
    # Before anything is chosen: what is kept does not depend on the rule.
    if self._keeps:
      checkpoint.keep(self._folder, self._phase, step, states)
    values = self._measured(step, states) if self._monitors else {}
    if self._rule is not None:
      # On one device, as members that finish leave theirs.
      states = parallel.gathered(dataclasses.replace(states, opt={}))
      self._rule.see(step, states, values)

  def chosen(self, states: TrainState) -> TrainState:
    """The states that the phase ends with."""
    return states if self._rule is None else self._rule.end(states)

  def clear(self) -> None:
    """Removes what was remembered on the way."""
    if self._rule is not None:
      self._rule.clear()

  def _measured(self, step: int, states: TrainState) -> dict[str, list[float]]:
    """The members' values by each monitor, which are also written."""
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
    return values

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
