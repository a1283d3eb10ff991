"""The compiled programs of a segment, and the states that they pass on."""

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
    # Made on demand and kept: most phases never meet the smaller size, and
    # those that do come back to it every epoch.
    self.program = functools.cache(make)
    # Programs of one layout share what lies on the devices.
    self._constants: dict[parallel.Layout, program.Constants] = {}
    self._earlier = earlier
    self._size: int | None = None
    self.placed: Any = None  # TrainState, once a program runs

  def running(self, size: int, states: TrainState) -> program.Program:
    """The program of that size, after the states have moved into it."""
    if size != self._size:
      # By way of the states of all members: the other program may use other
      # devices.
      if self._size is not None:
        states = self.gather(states)
      self._size = size
      self.placed = self.program(size).place(states)
    return self.program(size)

  def constants(self, running: program.Program) -> program.Constants:
    """The program's other arguments, shared by programs of one layout."""
    if running.layout not in self._constants:
      constants = running.constants(self._earlier)
      self._constants[running.layout] = constants
    return self._constants[running.layout]

  def gather(self, states: TrainState) -> TrainState:
    """The states of all members."""
    assert self._size is not None
    return self.program(self._size).gather(self.placed, states)
