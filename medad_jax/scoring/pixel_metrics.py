"""Metrics of separating abnormal from normal pixels; numpy, on the host.

All test images are pooled; masks of normal ones are empty. Everything comes
from two sorted arrays, the pool and the abnormal pixels alone. Two binary
searches count the values that reach a threshold, so each metric is exact,
whatever the ties, and no metric binarizes the maps. Beside float32 maps,
which may be a `np.memmap`, that takes 4 bytes a pixel and 8 an abnormal one:
0.9 GB for 3,000 images of 256 x 256 whose lesions fill 5 %.
"""

from collections.abc import Iterator
import dataclasses
from typing import Any, Literal

from jaxtyping import Bool, Float, Int
import numpy as np
from scipy import ndimage

from medad_jax.scoring import intervals

_DEFINED = (
  "pixel_auroc",
  "pixel_ap",
  "oracle_dice",
  "oracle_dice_threshold",
  "aupro",
)
# The region overlap is averaged over false positive rates up to this one.
LIMIT = 0.3
# The reference's number of steps between the thresholds of its Dice.
_STEPS = 200
# Diagonal neighbors of a pixel belong to its region, too.
_EIGHT = np.ones((3, 3), bool)
# Abnormal pixels ranked at a time: 0.8 MB an array of their ranks. Ties stay
# together.
_CHUNK = 100_000


@dataclasses.dataclass(frozen=True)
class Pixels:
  """Metrics of one score's maps on the pixels of a test set.

  All but the numbers are None where no pixel or every pixel is abnormal.

  Attributes:
    pixel_auroc: scikit-learn's `roc_auc_score` of all pixels.
    pixel_ap: scikit-learn's `average_precision_score` of all pixels.
    oracle_dice: see `oracle_dice`.
    oracle_dice_threshold: see `oracle_dice`.
    aupro: see `areas`.
    n_pixels: pixels of all images.
    n_positive: abnormal ones.
    pixel_auroc_ci: its 95 % interval; None where it is not computed, as all.
    pixel_ap_ci: of `pixel_ap`.
    oracle_dice_ci: of `oracle_dice`.
    aupro_ci: of `aupro`.
  """

  pixel_auroc: float | None
  pixel_ap: float | None
  oracle_dice: float | None
  oracle_dice_threshold: float | None
  aupro: float | None
  n_pixels: int
  n_positive: int
  pixel_auroc_ci: intervals.Interval | None = None
  pixel_ap_ci: intervals.Interval | None = None
  oracle_dice_ci: intervals.Interval | None = None
  aupro_ci: intervals.Interval | None = None


def summarize(
  maps: Float[np.ndarray, "n h w"], masks: Bool[np.ndarray, "_ _ _"]
) -> Pixels:
  """All metrics of one score's maps.

  Args:
    maps: any finite values; higher is more abnormal. May be a `np.memmap`.
    masks: where each image is abnormal, of the maps' shape; nowhere in a
      normal image.

  Raises:
    ValueError: maps and masks of different shapes, masks that are not boolean,
      or values that are not finite.
  """
  if maps.shape != masks.shape or masks.dtype != bool:
    raise ValueError(
      f"Maps of shape {maps.shape} came with {masks.dtype} masks of shape"
      f" {masks.shape}; give boolean masks of the maps' shape."
    )
  # In this order, what sorting the positives takes is freed before the pool.
  positives, sizes = _sorted_positives(maps, masks)
  pool = _sorted_pool(maps)
  found: dict[str, Any] = dict.fromkeys(_DEFINED)
  if 0 < len(positives) < len(pool):
    found |= areas(pool, positives, sizes) | oracle_dice(pool, positives)
  return Pixels(**found, n_pixels=len(pool), n_positive=len(positives))


def areas(
  pool: Float[np.ndarray, "n"],
  positives: Float[np.ndarray, "m"],
  sizes: Int[np.ndarray, "m"],
) -> dict[str, float]:
  """Areas under the pooled ROC, precision-recall and region overlap curves.

  AUPRO is the mean share of a region that is found, averaged over false
  positive rates from 0 to 0.3, in [0, 1] (Bergmann et al., The MVTec Anomaly
  Detection Dataset, IJCV 2021, section 5.1). As in the authors' evaluation
  code, regions are 8-connected, all pixels outside of regions count as one
  pool of negatives, and the curve is linear between its distinct thresholds,
  also where it is cut at 0.3.

  Args:
    pool: values of all pixels, rising.
    positives: values of the abnormal ones, rising; some, but not all pixels.
    sizes: pixels in the region that each abnormal pixel belongs to.

  Returns:
    `pixel_auroc`, `pixel_ap` and `aupro`.
  """
  m, negatives = len(positives), len(pool) - len(positives)
  doubled, precision, overlap, regions = 0, 0.0, 0.0, 0.0
  for part in _parts(positives):
    values, starts, ties = np.unique(
      positives[part], return_index=True, return_counts=True
    )
    hits = m - part.start - starts
    flagged = _count(pool, values, "left")
    reach = flagged - hits
    above = _count(pool, values, "right") - (hits - ties)
    # A negative below counts two, a tied one counts one.
    doubled += int(np.sum(ties * (2 * negatives - above - reach)))
    precision += float(np.sum(ties * (hits / flagged)))
    # A region's pixels share its weight, so the weights add up to the regions.
    weights = np.add.reduceat(1 / sizes[part], starts)
    ramps = _area_under_ramps(above / negatives, reach / negatives)
    overlap += float(np.sum(weights * ramps))
    regions += float(np.sum(weights))
  return {
    "pixel_auroc": doubled / (2 * negatives * m),
    "pixel_ap": precision / m,
    "aupro": overlap / (regions * LIMIT),
  }


def oracle_dice(
  pool: Float[np.ndarray, "n"], positives: Float[np.ndarray, "m"]
) -> dict[str, float]:
  """The best Dice of the pooled pixels; it has seen the test masks.

  The reference's recipe (MedIAnomaly, arXiv 2404.04518): thresholds are every
  n // 200th value from the lowest, a pixel is flagged strictly above one. Below
  200 pixels, where that recipe has no step, every value is a threshold.

  Args:
    pool: values of all pixels, rising.
    positives: values of the abnormal ones, rising, at least one.

  Returns:
    `oracle_dice` in [0, 1] and the lowest threshold that reaches it,
    `oracle_dice_threshold`.
  """
  thresholds = pool[:: max(1, len(pool) // _STEPS)]
  flagged = _count(pool, thresholds, "right")
  hits = _count(positives, thresholds, "right")
  dice = 2 * hits / (flagged + len(positives))
  best = np.argmax(dice)
  return {
    "oracle_dice": float(dice[best]),
    "oracle_dice_threshold": float(thresholds[best]),
  }


def region_sizes(mask: Bool[np.ndarray, "h w"]) -> Int[np.ndarray, "p"]:
  """The size of its 8-connected region for each abnormal pixel, row by row."""
  rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
  if not len(rows):
    return np.zeros(0, np.int32)
  # Lesions are small: labeling their box alone saves most of the time.
  box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  labels = ndimage.label(box, _EIGHT)[0][box]
  return np.bincount(labels)[labels].astype(np.int32)


def _sorted_pool(maps: np.ndarray) -> np.ndarray:
  """All values, rising."""
  pool = np.array(maps, order="C").ravel()
  pool.sort()
  # Infinities sort to the ends, and NaN behind them.
  if len(pool) and not np.isfinite(pool[[0, -1]]).all():
    _refuse(maps)
  return pool


def _refuse(maps: np.ndarray) -> None:
  """Says where the maps are not finite, reading one image at a time."""
  broken = np.array([np.sum(~np.isfinite(m)) for m in maps])
  image = int(np.flatnonzero(broken)[0])
  row, column = np.argwhere(~np.isfinite(maps[image]))[0]
  raise ValueError(
    f"{broken.sum()} of {maps.size} map values are not finite, first in image"
    f" {image} at row {row}, column {column}; a value must be a number to be"
    " ranked."
  )


def _sorted_positives(
  maps: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Values of the abnormal pixels, rising, and the sizes of their regions."""
  total = np.count_nonzero(masks)
  values, sizes = np.empty(total, maps.dtype), np.empty(total, np.int32)
  stop = 0
  for image, mask in zip(maps, masks, strict=True):
    found = region_sizes(mask)
    start, stop = stop, stop + len(found)
    sizes[start:stop] = found
    values[start:stop] = image[mask]
  order = np.argsort(values)
  return values[order], sizes[order]


def _parts(positives: np.ndarray) -> Iterator[slice]:
  """Places at which rising values are cut into parts, no tie in two."""
  start = 0
  while start < len(positives):
    last = positives[min(start + _CHUNK, len(positives)) - 1]
    stop = int(np.searchsorted(positives, last, "right"))
    yield slice(start, stop)
    start = stop


def _count(
  ordered: np.ndarray, thresholds: np.ndarray, side: Literal["left", "right"]
) -> Int[np.ndarray, "t"]:
  """Number of values that reach ("left") or exceed ("right") each threshold."""
  return len(ordered) - np.searchsorted(ordered, thresholds, side)


def _area_under_ramps(
  starts: Float[np.ndarray, "m"], ends: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "m"]:
  """Areas from 0 to the limit under lines rising from 0 at start to 1 at end.

  A pixel is found at the false positive rate of its threshold. Negatives tied
  with it draw that step out to a ramp; without them it starts where it ends.
  """
  widths = ends - starts
  inside = np.clip(LIMIT - starts, 0, widths)
  ramps = inside**2 / np.where(widths > 0, 2 * widths, 1)
  return ramps + np.maximum(LIMIT - ends, 0)
