"""Progress and the time left: a bar on a terminal, lines in a log."""

import sys
import time

import tqdm

_EVERY = 60.0  # seconds between two lines


class Progress:
  """Counts what is done.

  Args:
    title: what is done.
    total: of all.
    done: of them before this start.
    unit: what is counted.
  """

  def __init__(
    self, title: str, total: int, done: int = 0, unit: str = "image"
  ):
    self._title, self._total, self._first = title, total, done
    self._done, self._start = done, time.monotonic()
    self._said = self._start
    # A log gets lines of its own: a bar would be one endless line there.
    self._bar = tqdm.tqdm(
      desc=title, total=total, initial=done, unit=unit, disable=None
    )

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *_) -> None:
    self._bar.close()

  def add(self, count: int) -> None:
    """Counts more of them."""
    self._done += count
    self._bar.update(count)
    now = time.monotonic()
    if not self._bar.disable or now - self._said < _EVERY:
      return
    self._said = now
    left = self._total - self._done
    seconds = left * (now - self._start) / max(self._done - self._first, 1)
    print(
      f"{self._title}: {self._done:,} of {self._total:,}, about"
      f" {_duration(seconds)} left",
      file=sys.stderr,
      flush=True,
    )


def _duration(seconds: float) -> str:
  if seconds < 60:
    return f"{seconds:.0f} s"
  hours, minutes = divmod(round(seconds / 60), 60)
  return f"{hours} h {minutes} min" if hours else f"{minutes} min"
