"""Coverage of the AUROC's intervals, by simulation.

`python -m benchmarks.coverage --draws=2000` draws test sets whose true AUROC is
known and prints, for each family of scores, size and area, the share of 95 %
intervals that hold it and their mean width. `--patients=10` draws ten images a
patient, which share half of their variance: the intervals, which take images as
independent, are then too narrow. `--of=pixels`, `--of=rate` and `--of=seeds` do
the same for metrics of maps, shares of boxes that are found and means over
trainings (`coverage_of_sets`); these intervals know the patients.
"""

import argparse
from collections.abc import Callable
import math
import statistics
import sys
from typing import NamedTuple

import numpy as np

from benchmarks import coverage_of_sets
from medad_jax.scoring import intervals

AREAS = (0.6, 0.8, 0.95, 0.99, 0.999)
# Normal and abnormal images.
SIZES = ((25, 25), (50, 500), (500, 50), (500, 500))

Sampler = Callable[
  [np.random.Generator, int, int, float], tuple[np.ndarray, np.ndarray]
]


class Coverage(NamedTuple):
  """Coverage of the intervals of one kind of test set."""

  share: float
  width: float


def gaussian(deviation: float, patients: int = 1) -> Sampler:
  """Normal scores of deviation 1, abnormal ones of `deviation`.

  Args:
    deviation: of the abnormal scores.
    patients: images a patient; they share half of their variance.
  """

  def draw(rng, normal, abnormal, area):
    shift = statistics.NormalDist().inv_cdf(area) * math.hypot(1, deviation)
    low, high = (_by_patient(rng, n, patients) for n in (normal, abnormal))
    return low, deviation * high + shift

  return draw


def exponential(rng, normal, abnormal, area):
  """A long tail of high scores, longer in the abnormal class."""
  rate = (1 - area) / area
  return rng.exponential(size=normal), rng.exponential(size=abnormal) / rate


def mirrored(rng, normal, abnormal, area):
  """A long tail of low scores, longer in the normal class."""
  rate = (1 - area) / area
  return -rng.exponential(size=normal) / rate, -rng.exponential(size=abnormal)


FAMILIES: dict[str, Sampler] = {
  "equal Gaussians": gaussian(1.0),
  "abnormal half as wide": gaussian(0.5),
  "abnormal thrice as wide": gaussian(3.0),
  "exponential": exponential,
  "mirrored exponential": mirrored,
}


def coverage(
  sample: Sampler, sizes: tuple[int, int], area: float, draws: int, seed: int
) -> Coverage:
  """The share of intervals that hold `area`, and their mean width.

  Args:
    sample: draws the scores of normal and of abnormal images.
    sizes: normal and abnormal images of a test set.
    area: the true AUROC.
    draws: test sets.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  held, width = 0, 0.0
  for _ in range(draws):
    ends = intervals.auroc_interval(*sample(rng, *sizes, area))
    assert ends is not None  # there are two images of each class
    held += ends[0] <= area <= ends[1]
    width += ends[1] - ends[0]
  return Coverage(held / draws, width / draws)


def main(argv: list[str] | None = None) -> int:
  """Prints a row a family and size, a column an area."""
  args = _parse(argv)
  if args.of != "auroc":
    print(f"coverage of 95 % intervals (their mean width), {args.of}")
    for row in coverage_of_sets.rows(args.of, args.patients, args.draws):
      print(row, flush=True)
    return 0
  families = FAMILIES
  if args.patients > 1:
    families = {"equal Gaussians": gaussian(1.0, args.patients)}
  print("coverage of 95 % intervals of the AUROC (their mean width)")
  print(f"{'':24}{'images':>9}" + "".join(f"{area:>16}" for area in AREAS))
  for name, sample in families.items():
    for sizes in SIZES:
      found = [coverage(sample, sizes, a, args.draws, 0) for a in AREAS]
      cells = "".join(f"{c.share:>8.3f} ({c.width:.3f})" for c in found)
      print(f"{name:24}{sizes[0]:>4} +{sizes[1]:>4}{cells}", flush=True)
  return 0


def _by_patient(rng, images: int, each: int) -> np.ndarray:
  """Standard normal numbers; the images of a patient share half of theirs."""
  own = rng.normal(size=images)
  if each == 1:
    return own
  shared = rng.normal(size=-(-images // each)).repeat(each)[:images]
  return (own + shared) / math.sqrt(2)


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.coverage",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "--of",
    choices=("auroc", *coverage_of_sets.KINDS),
    default="auroc",
    help="what the intervals are of [auroc]",
  )
  parser.add_argument("--draws", type=int, default=2000, help="[2000]")
  parser.add_argument("--patients", type=int, default=1, help="[1]")
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
