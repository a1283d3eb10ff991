"""The compiled programs of a segment, and the states that they pass on."""

from collections.abc import Callable, Mapping
import functools

import jax
import numpy as np

from medad_jax.engine import parallel, program
from medad_jax.types import TrainState


class Calls:
  """A segment's programs, and its states in the one that runs.

  Batches of the whole size and the smaller ones that end an epoch have a
  program each, perhaps on other devices; states move when the size changes.
  """

  def __init__(
    self,
    make: Callable[[int], program.Program],
    earlier: program.Earlier,
  ):
    # Made on demand and kept: most phases never meet the smaller size, and
    # those that do come back to it every epoch.
    self.program = functools.cache(make)
    # Programs of one layout share what lies on the devices.
    self._constants: dict[parallel.Layout, program.Constants] = {}
    self._earlier = earlier
    self._size: int | None = None
    self._placed: TrainState | None = None

  def switch(self, size: int, states: TrainState) -> None:
    """Makes the program of that size the running one."""
    if size == self._size:
      return
    # By way of the states of all members: the other program may use other
    # devices.
    if self._size is not None:
      states = self.gather(states)
    self._size = size
    self._placed = self.program(size).place(states)

  def take(self, chunk: Mapping[str, np.ndarray]) -> list[dict[str, jax.Array]]:
    """Takes a chunk's steps."""
    assert self._size is not None and self._placed is not None
    running = self.program(self._size)
    if running.layout not in self._constants:
      constants = running.constants(self._earlier)
      self._constants[running.layout] = constants
    # The call donates the states that go in, so they are replaced at once.
    self._placed, found = running.call(
      self._placed, self._constants[running.layout], chunk
    )
    return found

  def reader(
    self, found: list[dict[str, jax.Array]], count: int
  ) -> Callable[[], dict[str, np.ndarray]]:
    """Reads the metrics of a call, which waits for it, when it is called."""
    assert self._size is not None
    # Nothing is read yet: reading makes the host wait for the device.
    return functools.partial(self.program(self._size).metrics, found, count)

  def gather(self, states: TrainState) -> TrainState:
    """The states of all members."""
    assert self._size is not None and self._placed is not None
    return self.program(self._size).gather(self._placed, states)
