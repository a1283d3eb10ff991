"""From call to call: the programs of a segment and the states in them."""

from collections.abc import Callable
import functools
from typing import Any

from medad_jax.engine import parallel, program
from medad_jax.types import TrainState


class Calls:
  """A segment's programs, and its states in the one that runs.

  Batches of the whole size and the smaller ones that end an epoch have a
  program each, perhaps on other devices; states move when the size changes.

  Attributes:
    placed: the states in the program that runs.
  """

  def __init__(
    self,
    make: Callable[[int], program.Program],
    earlier: program.Earlier,
  ):
    self.program = functools.cache(make)
    # Programs of one layout share what lies on the devices.
    self._constants: dict[parallel.Layout, program.Constants] = {}
    self._earlier = earlier
    self._size: int | None = None
    self.placed: Any = None  # TrainState, once a program runs

  def running(self, size: int, states: TrainState) -> program.Program:
    """The program of that size, with the states in it."""
    if size != self._size:
      if self._size is not None:
        states = self.gather(states)
      self._size = size
      self.placed = self.program(size).place(states)
    return self.program(size)

  def constants(self, running: program.Program) -> program.Constants:
    """What else its calls need."""
    if running.layout not in self._constants:
      constants = running.constants(self._earlier)
      self._constants[running.layout] = constants
    return self._constants[running.layout]

  def gather(self, states: TrainState) -> TrainState:
    """The states of all members."""
    assert self._size is not None
    return self.program(self._size).gather(self.placed, states)
