"""How long a phase has trained, and when to save it."""

import time

from medad_jax.engine import processes


class Clock:
  """Seconds a phase has trained, over all runs, and when to save next.

  Several processes save together, when the first one says. It is asked at
  every eighth call only, as the answer is waited for.
  """

  def __init__(self, before: float, interval: float):
    self._start = time.monotonic() - before
    self._interval = interval
    self._calls = 0
    self.saved()

  def seconds(self) -> float:
    """How long the phase has trained, over all runs."""
    return time.monotonic() - self._start

  def saved(self) -> None:
    """Notes that a checkpoint was written."""
    self._last = time.monotonic()

  def due(self) -> bool:
    """Whether to write a checkpoint now."""
    self._calls += 1
    if processes.count() > 1 and self._interval and self._calls % 8:
      return False
    return processes.agreed(time.monotonic() - self._last >= self._interval)
