"""Coverage of intervals by resampled images or patients, by simulation.

`python -m benchmarks.coverage --of=pixels|rate|seeds`: metrics of maps, shares
of boxes that are found, and means over trainings on the same images. The true
values come from a test set that is many times larger.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from medad_jax.scoring import (
  by_patient,
  intervals,
  metrics,
  pixel_intervals,
  pixel_metrics,
)

SIZES = (25, 50, 200)  # images of each class
SHIFTS = (0.5, 1.5)  # of abnormal pixels or images, in deviations of noise
_SIDE = 16
_TRUTH = 20_000  # images of each class in the set that stands for the truth
_SEEDS = 3  # trainings whose mean is taken

Ends = Mapping[str, intervals.Interval | None]


class Measured(NamedTuple):
  """One test set: values and their intervals, by metric."""

  values: Mapping[str, float | None]
  ends: Callable[[], Ends]


class _Set(NamedTuple):
  """A drawn test set, and who its images are of."""

  labels: np.ndarray
  patients: np.ndarray

  @classmethod
  def of(cls, images: int, each: int) -> "_Set":
    """`images` of each class, `each` a patient, who has one class."""
    labels = np.repeat([0, 1], images)
    per_class = -(-images // each)
    own = np.arange(images) // each
    return cls(labels, np.concatenate([own, per_class + own]))

  def shared(self, rng: np.random.Generator) -> np.ndarray:
    """A standard normal number a patient, for each image."""
    return rng.normal(size=self.patients.max() + 1)[self.patients]


def pixels(rng, images: int, shift: float, each: int) -> Measured:
  """Maps with smooth and independent noise, and a square that is brighter."""
  found = _Set.of(images, each)
  masks = np.zeros((2 * images, _SIDE, _SIDE), bool)
  places = rng.integers(0, _SIDE - 4, (2 * images, 2))
  sides = rng.integers(2, 5, 2 * images)
  for row in np.flatnonzero(found.labels):
    (top, left), side = places[row], sides[row]
    masks[row, top : top + side, left : left + side] = True
  maps = rng.normal(size=masks.shape).astype(np.float32)
  maps += 0.5 * found.shared(rng)[:, None, None]
  # Some lesions are easier than others.
  maps += masks * (shift + 0.5 * rng.normal(size=2 * images))[:, None, None]
  maps = maps.astype(np.float32)
  exact = pixel_metrics.summarize(maps, masks)
  values = {name: getattr(exact, name) for name in pixel_intervals.NAMES}
  whose = found.patients if each > 1 else None
  return Measured(
    values,
    lambda: pixel_intervals.of_means(
      [maps], masks, (found.labels, whose), values
    ),
  )


def rate(rng, images: int, shift: float, each: int) -> Measured:
  """One to three boxes an abnormal image, found alike within a patient."""
  boxes = rng.integers(1, 4, images)
  whose = np.repeat(np.arange(images) // each, boxes)
  shared = rng.normal(size=whose.max() + 1)[whose]
  found = (shared + rng.normal(size=len(whose)) < shift * 2**0.5).astype(float)
  design = intervals.design_effect(found, whose)
  count = len(found)
  return Measured(
    {"detection_rate": float(found.mean())},
    lambda: {
      "detection_rate": intervals.wilson_interval(
        found.sum() / design, count / design
      )
    },
  )


def seeds(rng, images: int, shift: float, each: int) -> Measured:
  """Scores of several trainings that differ by noise of their own."""
  found = _Set.of(images, each)
  common = found.shared(rng) + rng.normal(size=2 * images)
  own = rng.normal(size=(2 * images, _SEEDS))
  scores = (common[:, None] + own) / 3**0.5 + shift * found.labels[:, None]
  whose = found.patients if each > 1 else None
  columns = [np.ascontiguousarray(column) for column in scores.T]
  mean = np.mean([_ranking(found.labels, column) for column in columns], 0)
  names = ("mean AUROC", "mean AP")
  return Measured(
    dict(zip(names, mean.tolist(), strict=True)),
    lambda: dict(
      zip(
        names,
        metrics.mean_intervals(found.labels, scores, whose),
        strict=True,
      )
    ),
  )


KINDS = {"pixels": pixels, "rate": rate, "seeds": seeds}


def rows(kind: str, each: int, draws: int) -> Iterator[str]:
  """Lines of the table: a size and shift each, a column a metric."""
  measure = KINDS[kind]
  for shift in SHIFTS:
    truth = measure(np.random.default_rng(1), _TRUTH, shift, each).values
    for images in SIZES:
      rng = np.random.default_rng(0)
      sets = [measure(rng, images, shift, each).ends() for _ in range(draws)]
      cells = []
      for name, true in truth.items():
        ends = [one[name] for one in sets]
        known = [e for e in ends if e is not None]
        held = sum(low <= true <= high for low, high in known)
        width = np.mean([high - low for low, high in known])
        # A set without an interval holds nothing.
        cells.append(f"{name} {held / draws:.3f} ({width:.3f})")
      yield f"{images:>4} a class, shift {shift:g}: {', '.join(cells)}"


def _ranking(labels, scores) -> tuple[float, float]:
  once = np.ones((1, len(labels)), np.int32)
  [area], [precision] = by_patient.measure(labels, scores, once)
  return float(area), float(precision)
