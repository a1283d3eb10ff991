"""Intervals of metrics of pixels: whole images or patients are resampled.

Pixels of an image are anything but independent, so a draw takes images, or
patients with all their images, as often as chance has it (`by_patient.draw`).
Each image is reduced to counts of its pixels between thresholds first. A draw
is then a weighted sum of these counts, and a thousand draws are a product of
matrices on the device.

The thresholds are few, so that metrics of draws differ a little from the exact
ones; only their spread is used, around the exact value, on the logit scale.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from medad_jax.scoring import by_patient, intervals, pixel_metrics

NAMES = ("pixel_auroc", "pixel_ap", "aupro", "oracle_dice")

_LEVELS = 256  # thresholds of abnormal pixels, and as many of all pixels
_RAREST = 1e-6  # share of pixels above the highest threshold of all pixels
_SAMPLE = 1_000_000  # pixels whose quantiles are thresholds
_DRAWS = 1000
_CHUNK = 4_000_000  # weights held at a time: 16 MB


def of_means(
  maps: Sequence[Float[np.ndarray, "n h w"]],
  masks: Bool[np.ndarray, "n h w"],
  clusters: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"] | None],
  values: Mapping[str, float | None],
  seed: int = 0,
) -> dict[str, intervals.Interval | None]:
  """95 % intervals of means over trainings, which are held fixed.

  Args:
    maps: of each training; may be `np.memmap`.
    masks: where each image is abnormal.
    clusters: labels of the images, 0 normal and 1 abnormal, and a number of
      each image's patient; None where images are independent.
    values: the measured means by name, of `NAMES`.
    seed: of the draws; the same seed gives the same intervals.

  Returns:
    Intervals by name. None where the value is undefined, 0 or 1, or where
    fewer than two images, or patients, have a lesion.
  """
  labels, patients = clusters
  none: dict[str, intervals.Interval | None] = dict.fromkeys(NAMES)
  each = by_patient.alone(labels) if patients is None else patients
  cases = len(np.unique(each[masks.any((1, 2))]))
  if cases < 2:
    return none
  weights = by_patient.draw(labels, each, _DRAWS, seed)
  drawn = [_drawn(one, masks, weights) for one in maps]
  return {
    name: _interval(
      values[name], np.mean([one[name] for one in drawn], 0), cases
    )
    for name in NAMES
  }


def _interval(
  value: float | None, drawn: Float[np.ndarray, "d"], cases: int
) -> intervals.Interval | None:
  # A draw may lack all lesions where few images have one.
  known = drawn[np.isfinite(drawn)]
  if value is None or not 0 < value < 1 or len(known) < 2:
    return None
  return intervals.logit_interval(value, float(known.std(ddof=1)), cases)


def _drawn(
  maps: np.ndarray, masks: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
  """Each metric of every draw."""
  counts = _counts(maps, masks)
  # One number of draws a call, so that one program serves all.
  size = max(1, min(len(weights), _CHUNK // weights.shape[1]))
  parts = []
  for at in range(0, len(weights), size):
    part = np.zeros((size, weights.shape[1]), np.float32)
    some = weights[at : at + size]
    part[: len(some)] = some
    found = jax.device_get(_measured(part, *counts))
    parts.append({name: x[: len(some)] for name, x in found.items()})
  return {name: np.concatenate([p[name] for p in parts]) for name in NAMES}


def _counts(
  maps: np.ndarray, masks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Negatives, positives and shares of regions of each image by place [n t].

  Places count from the highest values. Numbers are shares of the whole set's
  pixels, so that float32 holds their sums.
  """
  edges = _edges(maps, masks)
  places = len(edges) + 1
  found = np.zeros((3, len(maps), places), np.float32)
  for row, (image, mask) in enumerate(zip(maps, masks, strict=True)):
    place = len(edges) - np.searchsorted(edges, image, "right")
    inside = place[mask]
    both = np.bincount(place.ravel(), minlength=places)
    positive = np.bincount(inside, minlength=places)
    found[0, row] = both - positive
    found[1, row] = positive
    if len(inside):
      shares = 1 / pixel_metrics.region_sizes(mask)
      found[2, row] = np.bincount(inside, shares, places)
  found[:2] /= maps.size
  return found[0], found[1], found[2]


def _edges(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
  """Thresholds, rising, of the maps' type; perhaps some of them twice."""
  step = max(1, maps.size // _SAMPLE)
  # By pixels of all images: a slice of the flat array would read a file whole.
  side = int(np.ceil(np.sqrt(step)))
  pool = maps[:, ::side, ::side].ravel()
  positives = np.concatenate(
    [image[mask] for image, mask in zip(maps, masks, strict=True)]
  )
  evenly = np.linspace(0, 1, _LEVELS + 2)[1:-1]
  # Most of what AP, AUPRO and Dice see happens among the highest values.
  rare = np.geomspace(_RAREST, 1, _LEVELS, endpoint=False)
  edges = [np.quantile(positives, evenly), np.quantile(pool, 1 - rare)]
  return np.sort(np.concatenate(edges)).astype(maps.dtype)


@jax.jit
def _measured(
  weights: Float[Array, "d n"],
  negative: Float[Array, "n t"],
  positive: Float[Array, "n t"],
  regional: Float[Array, "n t"],
) -> dict[str, Float[Array, "d"]]:
  """The metrics of draws; NaN where a draw has no abnormal pixel."""

  def summed(counts):
    return jnp.matmul(weights, counts, precision="highest")

  steps = summed(negative), summed(positive), summed(regional)
  false, true, overlap = (jnp.cumsum(x, 1) for x in steps)
  of_false, of_true, regions = (x[:, -1:] for x in (false, true, overlap))
  # A tie counts one half.
  area = jnp.sum(steps[0] * (true - steps[1] / 2), 1)
  flagged = jnp.maximum(true + false, jnp.finfo(jnp.float32).tiny)
  rate = false / of_false
  limit = pixel_metrics.LIMIT
  # The curve of overlap by rate from 0 to the limit, linear between places.
  before = jnp.pad(rate, ((0, 0), (1, 0)))[:, :-1]
  low = jnp.pad(overlap, ((0, 0), (1, 0)))[:, :-1]
  width = rate - before
  inside = jnp.clip(limit - before, 0, width)
  share = inside / jnp.where(width > 0, width, 1)
  height = low + (overlap - low) * share / 2
  return {
    "pixel_auroc": area / (of_false * of_true)[:, 0],
    "pixel_ap": jnp.sum(steps[1] * true / flagged, 1) / of_true[:, 0],
    "aupro": jnp.sum(inside * height, 1) / (regions[:, 0] * limit),
    "oracle_dice": jnp.max(2 * true / (true + false + of_true), 1),
  }
