"""Measuring two or more sides fairly on a machine that others use too.

The sides take turns, and a ratio is formed within each turn: what slows the
machine for a minute slows all of them.
"""

from collections.abc import Callable, Mapping, Sequence
import os
import platform
import statistics
import time
from typing import Any, NamedTuple


class Ratio(NamedTuple):
  """A ratio of one side's seconds to another's, over all turns."""

  median: float
  low: float
  high: float

  def __str__(self):
    if self.low == self.high:  # one turn has no spread
      return f"{self.median:.2f}"
    return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def alternate(
  sides: Mapping[Any, Callable[[int], object]], repeats: int
) -> dict[Any, list[float]]:
  """Seconds of every side's turns.

  Args:
    sides: what to measure by name: functions of the turn's number whose JAX
      results are waited for. A turn before the first (number 0) compiles and
      is not counted.
    repeats: turns that count.
  """
  # Not above: PyTorch's processes import this file, and jax would weigh on
  # their memory.
  import jax

  times: dict[Any, list[float]] = {name: [] for name in sides}
  for turn in range(repeats + 1):
    for name, call in sides.items():
      start = time.perf_counter()
      jax.block_until_ready(call(turn))
      times[name].append(time.perf_counter() - start)
  return {name: taken[1:] for name, taken in times.items()}


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
  """The first side's seconds as a multiple of the second's, turn by turn."""
  parts = [a / b for a, b in zip(over, under, strict=True)]
  return Ratio(statistics.median(parts), min(parts), max(parts))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
  """Columns of equal width, the first one to the left."""
  lines = [[str(cell) for cell in line] for line in (header, *rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return "\n".join(
    "  ".join(
      cell.rjust(width) if place else cell.ljust(width)
      for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  )


def machine() -> str:
  """The devices that JAX sees, the host's cores and the versions."""
  import jax

  device = jax.devices()[0]
  cores = len(os.sched_getaffinity(0))
  return (
    f"{jax.device_count()} x {device.device_kind}, {cores} CPU core(s)"
    f" ({_processor()}), Python {platform.python_version()},"
    f" jax {jax.__version__}"
  )


def _processor() -> str:
  with open("/proc/cpuinfo") as lines:
    names = [line for line in lines if line.startswith("model name")]
  return names[0].partition(":")[2].strip() if names else platform.machine()
