"""Local detection: the boxes around abnormalities that a map finds.

Bercea et al., "Generalizing Unsupervised Anomaly Detection: Towards Unbiased
Pathology Screening", MIDL 2023, and its released evaluation. A box counts as
found when more than a tenth of it reaches a threshold, which is generous; false
positives are a ratio of sums of the map, not a number of regions. So rates
compare with others by the same rule, precision and F1 with little else.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import statistics

from jaxtyping import Bool, Float, Int
import numpy as np
from scipy import ndimage

from medad_jax.scoring import intervals

PUBLISHED = "published"  # the name of a threshold that a paper states
RATES = (0.01, 0.02, 0.05)  # of false positive pixels on healthy images
# The class that the published total leaves out: it is no pathology.
ARTEFACTS = "artefacts"

_SHARE = 0.1  # of a box, above which it is found
# Diagonal neighbors of a pixel belong to its region, as in `pixel_metrics`.
_EIGHT = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True)
class Regions:
  """The boxes to find in the images of a test set, one row a box.

  Attributes:
    rows: the image of each box.
    classes: the kind of abnormality of each box.
    marks: the pixels of each box; as a float, the share of each pixel that is
      inside, so that a resized box keeps the pixels at its edge.
    healthy: the pixels of each image that are known to be healthy.
    patients: a number of each box's patient; of its image where no patient is
      known. None where boxes are independent.
  """

  rows: Int[np.ndarray, "r"]
  classes: tuple[str, ...]
  marks: Bool[np.ndarray, "r h w"] | Float[np.ndarray, "r h w"]
  healthy: Bool[np.ndarray, "n h w"]
  patients: Int[np.ndarray, "r"] | None = None


@dataclasses.dataclass(frozen=True)
class Rate:
  """Boxes found at one threshold, of one class or of several.

  Attributes:
    boxes: how many there are.
    found: how many are found, the mean over draws.
    found_std: its standard deviation over draws, with n - 1; None of one draw.
    per_draw: how many each draw finds, training after training.
    rate: `found` / `boxes`, which is also the recall.
    rate_ci: its Wilson interval of 95 %, for as many boxes as `boxes` over
      `design`.
    precision: the mean over boxes and draws; see `outcomes`.
    f1: the same mean.
    design: how many times larger the rate's variance is than that of as many
      independent boxes, as those of one patient or image are not; see
      `intervals.design_effect`. The mean over trainings.
  """

  boxes: int
  found: float
  found_std: float | None
  per_draw: tuple[int, ...]
  rate: float
  rate_ci: intervals.Interval | None
  precision: float
  f1: float
  design: float = 1.0


@dataclasses.dataclass(frozen=True)
class AtThreshold:
  """Boxes found at one threshold.

  Attributes:
    threshold: of the map; the mean over trainings, each with its own.
    total: of all boxes.
    without_artefacts: of all but the class `ARTEFACTS`, as published; None
      where that class, or any other, is absent.
    classes: of each class by its name.
  """

  threshold: float
  total: Rate
  without_artefacts: Rate | None
  classes: Mapping[str, Rate]


@dataclasses.dataclass(frozen=True)
class Detection:
  """Local detection by one score's maps.

  Attributes:
    at: results by the threshold's name: `PUBLISHED`, or the share of healthy
      pixels above it, such as "5%".
  """

  at: Mapping[str, AtThreshold]


@dataclasses.dataclass(frozen=True)
class Outcomes:
  """The outcome of one box in every draw, [d].

  Attributes:
    found: whether more than a tenth of the box reaches the threshold.
    false_positives: sum of the map over healthy pixels that reach the
      threshold, divided by that over the box (at least 1), and truncated.
    precision: found / (found + false positives), 0 for 0 / 0.
    f1: of this precision and of found as the recall.
  """

  found: Bool[np.ndarray, "d"]
  false_positives: Int[np.ndarray, "d"]
  precision: Float[np.ndarray, "d"]
  f1: Float[np.ndarray, "d"]


def outcomes(
  maps: Float[np.ndarray, "d h w"],
  mark: Bool[np.ndarray, "h w"] | Float[np.ndarray, "h w"],
  healthy: Bool[np.ndarray, "h w"],
  threshold: float,
) -> Outcomes:
  """Judges one box.

  Args:
    maps: the map of every draw of its image.
    mark: the box, as in `Regions`. Its area counts all pixels that it touches.
    healthy: pixels known to be healthy.
    threshold: pixels from this value on count.
  """
  kept = np.where(maps >= threshold, maps, 0)
  inside, outside = kept * mark, kept * healthy
  hits = np.count_nonzero(inside, (1, 2))
  found = hits > _SHARE * np.count_nonzero(mark)
  mass = np.sum(inside, (1, 2), dtype=float)
  beside = np.sum(outside, (1, 2), dtype=float)
  false = (beside / np.maximum(mass, 1)).astype(int)
  precision = found / np.maximum(found + false, 1)
  f1 = 2 * precision * found / (precision + found + 1e-8)
  return Outcomes(found, false, precision, f1)


def detect(
  maps: Float[np.ndarray, "n d h w"],
  regions: Regions,
  thresholds: Mapping[str, float],
) -> Detection | None:
  """Counts the boxes that maps find; None where there are none to find.

  Every draw is counted by itself, never the mean of their maps.

  Args:
    maps: of every image and draw; may be a `np.memmap`.
    regions: what is to be found.
    thresholds: by name.
  """
  if not len(regions.rows) or not thresholds:
    return None
  return Detection(
    {
      name: _at(maps, regions, threshold)
      for name, threshold in thresholds.items()
    }
  )


def thresholds(maps: Float[np.ndarray, "..."]) -> dict[str, float]:
  """Thresholds that few pixels of healthy images reach, by their share.

  The smallest number that at most 1, 2 and 5 % of all pixels reach, over all
  images and draws. The reference walks a grid of 0.001 and counts pixels above
  a threshold; up to that grid this is the same, and it fits maps of any scale.

  Args:
    maps: of healthy images only, of any shape.
  """
  pool = np.array(maps, np.float32).ravel()
  if not len(pool):
    return {}
  # The largest value that must stay below the threshold.
  places = {rate: len(pool) - 1 - int(rate * len(pool)) for rate in RATES}
  pool.partition(sorted(places.values()))
  above = np.float32(np.inf)
  return {
    f"{rate:.0%}": float(np.nextafter(pool[place], above))
    for rate, place in places.items()
  }


def boxes(
  masks: Bool[np.ndarray, "n h w"],
) -> tuple[Int[np.ndarray, "r"], Bool[np.ndarray, "r h w"]]:
  """Image and pixels of the box around each 8-connected region of masks."""
  rows, marks = [], []
  for row, mask in enumerate(masks):
    named, _ = ndimage.label(mask, _EIGHT)
    for place in ndimage.find_objects(named):
      box = np.zeros(mask.shape, bool)
      box[place] = True
      rows.append(row)
      marks.append(box)
  return np.array(rows, int), np.array(marks, bool).reshape(
    -1, *masks.shape[1:]
  )


def over_seeds(found: Sequence[Detection]) -> Detection:
  """The detection of several trainings: draws of all side by side."""
  if len(found) == 1:
    return found[0]
  return Detection(
    {name: _merged([one.at[name] for one in found]) for name in found[0].at}
  )


def _at(maps: np.ndarray, regions: Regions, threshold: float) -> AtThreshold:
  judged = [
    outcomes(maps[row], mark, regions.healthy[row], threshold)
    for row, mark in zip(regions.rows, regions.marks, strict=True)
  ]
  patients = regions.patients
  if patients is None:
    patients = np.arange(len(judged))
  named = np.array(regions.classes)

  def of(chosen: np.ndarray) -> Rate:
    places = np.flatnonzero(chosen)
    return _rate([judged[place] for place in places], patients[places])

  classes = {name: of(named == name) for name in sorted(set(regions.classes))}
  others = named != ARTEFACTS
  return AtThreshold(
    threshold,
    of(np.ones(len(judged), bool)),
    of(others) if 0 < others.sum() < len(judged) else None,
    classes,
  )


def _rate(judged: Sequence[Outcomes], patients: np.ndarray) -> Rate:
  found = np.array([one.found for one in judged])
  return _of_draws(
    len(judged),
    tuple(int(count) for count in found.sum(0)),
    float(np.mean([one.precision for one in judged])),
    float(np.mean([one.f1 for one in judged])),
    intervals.design_effect(found.mean(1), patients),
  )


def _of_draws(
  count: int,
  per_draw: tuple[int, ...],
  precision: float,
  f1: float,
  design: float,
) -> Rate:
  found = statistics.fmean(per_draw)
  return Rate(
    boxes=count,
    found=found,
    found_std=statistics.stdev(per_draw) if len(per_draw) > 1 else None,
    per_draw=per_draw,
    rate=found / count,
    rate_ci=intervals.wilson_interval(found / design, count / design),
    precision=precision,
    f1=f1,
    design=design,
  )


def _merged(found: Sequence[AtThreshold]) -> AtThreshold:
  first = found[0]
  others = [one.without_artefacts for one in found]
  return AtThreshold(
    statistics.fmean(one.threshold for one in found),
    _merged_rate([one.total for one in found]),
    _merged_rate([one for one in others if one]) if others[0] else None,
    {
      name: _merged_rate([one.classes[name] for one in found])
      for name in first.classes
    },
  )


def _merged_rate(found: Sequence[Rate]) -> Rate:
  return _of_draws(
    found[0].boxes,
    tuple(count for one in found for count in one.per_draw),
    statistics.fmean(one.precision for one in found),
    statistics.fmean(one.f1 for one in found),
    statistics.fmean(one.design for one in found),
  )
