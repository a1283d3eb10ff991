"""Seconds and memory of the pixel metrics, against a loop over thresholds.

`python -m benchmarks.pixels --images=3000 --side=256` ranks generated float32
maps, half of them with a lesion. The loop is the plain way to the best Dice
alone: it binarizes the pooled map at each threshold. It is run at a few
thresholds, which it is given for nothing; the quickest, 201 times, is its time.
The metrics' time is the quicker of two runs: fresh memory may cost the first
one as much as its work.
"""

import argparse
from collections.abc import Callable, Sequence
import resource
import sys
import time
from typing import NamedTuple

import numpy as np

from medad_jax.scoring import pixel_metrics

_THRESHOLDS = 201


class Time(NamedTuple):
  """Times of one measurement, in seconds."""

  wall: float
  cpu: float


def main(argv: list[str] | None = None) -> int:
  """Prints both times, their ratio, the peak of memory and the metrics."""
  args = _parse(argv)
  maps, masks = generate(args.images, args.side)
  given = _peak()
  ours = _best(
    [_time(lambda: pixel_metrics.summarize(maps, masks)) for _ in range(2)]
  )
  peak = _peak()
  loop = time_loop(maps, masks, args.loop_thresholds)
  print(f"{maps.size:,} pixels, {masks.sum():,} abnormal")
  print(f"all metrics   {ours.wall:9.2f} s wall {ours.cpu:9.2f} s CPU")
  print(
    f"loop for Dice {loop.wall:9.2f} s wall {loop.cpu:9.2f} s CPU, for"
    f" {_THRESHOLDS} thresholds from {args.loop_thresholds} measured"
  )
  print(
    f"ratio         {loop.wall / ours.wall:9.1f}   wall"
    f" {loop.cpu / ours.cpu:9.1f}   CPU"
  )
  print(f"peak memory {peak:.2f} GB, maps and masks alone {given:.2f} GB")
  return 0


def generate(images: int, side: int) -> tuple[np.ndarray, np.ndarray]:
  """Maps in [0, 1.3), float32, and masks with a disc in every second image."""
  rng = np.random.default_rng(0)
  maps = np.empty((images, side, side), np.float32)
  masks = np.zeros((images, side, side), bool)
  grid = np.arange(side, dtype=np.float32)
  for i in range(images):
    rng.random(out=maps[i], dtype=np.float32)
    maps[i] **= 2
    if i % 2:
      (y, x), radius = rng.uniform(0, side, 2), rng.uniform(0.05, 0.2) * side
      masks[i] = (grid[:, None] - y) ** 2 + (grid - x) ** 2 < radius**2
      maps[i] += np.float32(0.3) * masks[i]
  return maps, masks


def time_loop(maps: np.ndarray, masks: np.ndarray, thresholds: int) -> Time:
  """The loop's time for all thresholds, from an even few of them."""
  pool, truth = maps.ravel(), masks.ravel()

  def dice(threshold):
    flagged = pool > threshold
    hits = np.sum(flagged & truth)
    return 2 * hits / (np.sum(flagged) + np.sum(truth))

  some = np.linspace(0, 1, thresholds, dtype=np.float32)
  best = _best([_time(lambda t=t: dice(t)) for t in some])
  return Time(best.wall * _THRESHOLDS, best.cpu * _THRESHOLDS)


def _time(call: Callable[[], object]) -> Time:
  wall, cpu = time.perf_counter(), time.process_time()
  call()
  return Time(time.perf_counter() - wall, time.process_time() - cpu)


def _best(times: Sequence[Time]) -> Time:
  return Time(min(t.wall for t in times), min(t.cpu for t in times))


def _peak() -> float:
  """The most memory that the process has held so far, GB."""
  unit = 1 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.pixels", description=__doc__
  )
  parser.add_argument("--images", type=int, default=3000, help="[3000]")
  parser.add_argument("--side", type=int, default=256, help="pixels [256]")
  parser.add_argument(
    "--loop-thresholds", type=int, default=5, help="measured of the loop [5]"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
