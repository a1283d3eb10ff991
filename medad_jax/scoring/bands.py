"""Bands around curves: how ROC and precision vary with the images tested."""

import dataclasses

from jaxtyping import Float, Int
import numpy as np

_DRAWS = 200
_POINTS = 101
_TAILS = (2.5, 97.5)  # percent


@dataclasses.dataclass(frozen=True)
class Band:
  """The central 95 % of a curve at each place, over resampled images.

  Attributes:
    at: false positive rates, or recalls, from 0 to 1.
    low: sensitivities, or precisions, in [0, 1].
    high: the same.
  """

  at: Float[np.ndarray, "n"]
  low: Float[np.ndarray, "n"]
  high: Float[np.ndarray, "n"]


def bands(
  labels: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n"]
) -> tuple[Band, Band] | None:
  """Bands of the ROC and of the precision-recall curve.

  Both classes are resampled with replacement, each by itself (stratified
  bootstrap, percentiles at every place: no band for the whole curve at once).

  Args:
    labels: 0 normal, 1 abnormal.
    scores: finite.

  Returns:
    The two; None where a class is missing.
  """
  positive = labels.astype(bool)
  if positive.all() or not positive.any():
    return None
  order = np.argsort(-scores, kind="stable")
  # Images of one score enter together, whatever their order.
  starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
  draw = np.random.RandomState(0)
  at = np.linspace(0, 1, _POINTS)
  sensitivities, precisions = [], []
  for _ in range(_DRAWS):
    found = []
    for members in (positive, ~positive):
      count = int(members.sum())
      weights = np.zeros(len(scores))
      weights[members] = draw.multinomial(count, np.full(count, 1 / count))
      found.append(np.cumsum(np.add.reduceat(weights[order], starts)))
    hits, alarms = (np.concatenate([[0.0], part]) for part in found)
    rate, recall = alarms / alarms[-1], hits / hits[-1]
    sensitivities.append(recall[np.searchsorted(rate, at, "right") - 1])
    reached = np.maximum(np.searchsorted(recall, at, "left"), 1)
    flagged = np.maximum(hits + alarms, 1)
    precisions.append((hits / flagged)[reached])
  return _band(at, sensitivities), _band(at, precisions)


def _band(at, curves) -> Band:
  low, high = np.percentile(curves, _TAILS, axis=0)
  return Band(at, low, high)
