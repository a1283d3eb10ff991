"""Training time of a phase, and when to save its next checkpoint."""

import time

from medad_jax.engine import processes


class Clock:
  """Seconds a phase has trained, over all runs, and when to save next.

  Several processes save together, when the first one decides. All wait for its
  answer, so they ask at every eighth call only.
  """

  def __init__(self, before: float, interval: float):
    # Monotonic: setting the system's clock must not change a duration.
    self._start = time.monotonic() - before
    self._interval = interval
    self._calls = 0
    self.saved()

  def seconds(self) -> float:
    """Seconds that the phase has trained, over all runs."""
    return time.monotonic() - self._start

  def saved(self) -> None:
    """Notes that a checkpoint was written."""
    self._last = time.monotonic()

  def due(self) -> bool:
    """True if a checkpoint should be written now."""
    self._calls += 1
    if processes.count() > 1 and self._interval and self._calls % 8:
      return False
    # One answer for all: a process that saves waits for the others.
    return processes.agreed(time.monotonic() - self._last >= self._interval)
