"""Runs that end in the middle, as a killed process leaves them."""

import pytest

from medad_jax.engine import writers


class Killed(Exception):
  pass


class Killer(writers.Writers):
  """Ends the run instead of writing one line of metrics too many.

  Args:
    workdir: the run's folder.
    lines: how many are written before.
    holding: only lines that hold a value of this name count.
  """

  def __init__(self, workdir, lines, holding=None):
    super().__init__(workdir)
    self.left, self.holding = lines, holding

  def scalars(self, phase, step, values):
    if self.holding is None or self.holding in values:
      if not self.left:
        raise Killed
      self.left -= 1
    super().scalars(phase, step, values)


def killed_and_resumed(run, workdir, lines, holding=None):
  """The result of `run(workdir, **options)` that was killed in between."""
  with pytest.raises(Killed):
    run(workdir, log=Killer(workdir, lines, holding))
  return run(workdir)
