"""The states that a phase ends with, where these are not its last ones.

What is remembered on the way is saved beside the phase's checkpoints, so that a
resumed run ends with the same states. It may be ahead of the checkpoint that
the run goes on from: then the same measurements come again, and add nothing.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.engine import checkpoint
from medad_jax.types import TrainState

LAST, AVERAGE = "last", "average"
# States, and numbers of each member beside them.
Kept = dict[str, Any]


class Rule:
  """A rule that remembers states of a phase while it trains.

  Args:
    folder: the run's checkpoint folder.
    name: of what is saved there.
    beside: example of the numbers that are saved with the states.
    target: shapes of the members' states.
  """

  def __init__(self, folder: Path, name: str, beside: Kept, target: TrainState):
    self._saved = checkpoint.Checkpoints(folder, name)
    self._kept: Kept | None = None
    step = self._saved.latest()
    if step is not None:
      states = dataclasses.replace(target, opt={})
      self._kept = self._saved.restore(step, {**beside, "states": states})

  def see(
    self,
    step: int,
    states: TrainState,
    values: Mapping[str, Sequence[float]],
  ) -> None:
    """Remembers what it needs of these states.

    Args:
      step: steps behind them.
      states: of all members, without the optimizer's, on one device.
      values: by monitors, one a member.

    Raises:
      UserError: it could not be written.
    """
    raise NotImplementedError

  def end(self, states: TrainState) -> TrainState:
    """The states that the phase ends with, of its last ones."""
    return states if self._kept is None else self._kept["states"]

  def clear(self) -> None:
    """Removes what was saved on the way."""
    self._saved.remove()

  def _keep(self, step: int, kept: Kept) -> None:
    self._kept = kept
    self._saved.save(step, kept)


class Best(Rule):
  """The best states of every member, by a monitor's value.

  Args:
    folder: the run's checkpoint folder.
    phase: the phase's name.
    monitor: its name.
    sign: 1 where higher values are better, -1 where lower ones are.
    target: shapes of the members' states.
  """

  def __init__(
    self,
    folder: Path,
    phase: str,
    monitor: str,
    sign: int,
    target: TrainState,
  ):
    values = {"values": np.zeros(len(target.step))}
    super().__init__(folder, f"{phase}_best", values, target)
    self._monitor, self._sign = monitor, sign

  def see(
    self,
    step: int,
    states: TrainState,
    values: Mapping[str, Sequence[float]],
  ) -> None:
    """Keeps the states of members whose value is their best so far."""
    own = self._sign * np.asarray(values[self._monitor])
    best = self._kept or {"values": np.full(len(own), -np.inf)}
    # Strictly better: ties go to the earlier states, and NaN never wins.
    better = own > best["values"]
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
    own = np.where(better, own, best["values"])
    # A copy: the next step takes the memory of these.
    copied = jax.tree.map(lambda x: x.copy(), states)
    self._keep(step, {"values": own, "states": copied})


class Average(Rule):
  """The mean of what every member was in the second half of its steps.

  Args:
    folder: the run's checkpoint folder.
    phase: the phase's name.
    steps: of every member.
    target: shapes of the members' states.
  """

  def __init__(
    self,
    folder: Path,
    phase: str,
    steps: Sequence[int],
    target: TrainState,
  ):
    count = {"count": np.zeros(len(steps), int)}
    super().__init__(folder, f"{phase}_average", count, target)
    self._steps = steps

  def see(
    self,
    step: int,
    states: TrainState,
    values: Mapping[str, Sequence[float]],
  ) -> None:
    """Takes these states into the mean."""
    mean = averaged(self._kept, states, self._steps)
    # Nothing is written in the first half, nor where a state came before.
    if mean is not None and mean is not self._kept:
      self._keep(step, mean)


def averaged(
  mean: Kept | None, states: TrainState, steps: Sequence[int]
) -> Kept | None:
  """The running mean of weights with these states taken in.

  Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407, algorithm
  1). Statistics of batch normalization are averaged like weights; there they
  are computed anew, which takes another pass over the images.

  Args:
    mean: what this gave before; None at first.
    states: of all members, without the optimizer's.
    steps: of every member in the whole phase.

  Returns:
    "count", how many states of each member were taken in, and "states": their
    mean, with step, key and whole numbers of the last of them. None where none
    of any member was.
  """
  done = np.asarray(states.step)
  seen, count, old = np.full(len(done), -1), np.zeros(len(done), int), states
  if mean is not None:
    count, old = mean["count"], mean["states"]
    seen = np.asarray(old.step)
  # A member that has finished is measured beside the others, and a resumed run
  # measures a second time: no state counts twice.
  fresh = (2 * done >= np.asarray(steps)) & (done > seen)
  if not fresh.any():
    return mean
  count = count + fresh
  return {"count": count, "states": _toward(old, states, fresh, count)}


@jax.jit
def _toward(
  mean: TrainState, states: TrainState, fresh: jax.Array, count: jax.Array
) -> TrainState:
  """The means of `count` states, of which the last are `states`."""

  def move(old, new):
    def of(member):  # as a leaf's leading axis
      return member.reshape(-1, *(1,) * (new.ndim - 1))

    # Not a weighted sum of both: what never changes stays what it is.
    moved = new
    if jnp.issubdtype(new.dtype, jnp.floating):
      moved = jnp.where(of(count == 1), new, old + (new - old) / of(count))
    return jnp.where(of(fresh), moved, old)

  return jax.tree.map(move, mean, states)
