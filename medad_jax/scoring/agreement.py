"""Agreement of the same numbers, computed twice."""

import dataclasses
import math

from jaxtyping import Float, Int
import numpy as np

from medad_jax.scoring import metrics


@dataclasses.dataclass(frozen=True)
class Agreement:
  """The difference of two arrays.

  Attributes:
    error: the largest absolute difference.
    largest: the largest absolute value of the second array.
  """

  error: float
  largest: float

  @property
  def scaled(self) -> float:
    """The error in units of the largest value, where that is above 1.

    Rounding grows with the numbers: 1e-5 of 100 is one digit of a float32.
    """
    return self.error / max(1.0, self.largest)


def agreement(
  ours: Float[np.ndarray, "*n"], theirs: Float[np.ndarray, "*n"]
) -> Agreement:
  """Compares arrays of one shape; infinite where one of them is not finite."""
  ours, theirs = (np.asarray(x, np.float64) for x in (ours, theirs))
  if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
    return Agreement(math.inf, math.inf)
  return Agreement(
    float(np.abs(ours - theirs).max(initial=0)),
    float(np.abs(theirs).max(initial=0)),
  )


def rank_correlation(
  ours: Float[np.ndarray, "n"], theirs: Float[np.ndarray, "n"]
) -> float | None:
  """Spearman's correlation; equal values share their mean rank.

  None where one of the two has no order.
  """
  ranks = [_ranks(x) for x in (ours, theirs)]
  centered = [x - x.mean() for x in ranks]
  size = math.sqrt(np.prod([np.sum(x**2) for x in centered]))
  return float(centered[0] @ centered[1] / size) if size else None


def auroc_difference(
  labels: Int[np.ndarray, "n"],
  ours: Float[np.ndarray, "n"],
  theirs: Float[np.ndarray, "n"],
) -> float | None:
  """AUROC of the first scores less that of the second; None for one class."""
  values = [metrics.auroc(labels, x) for x in (ours, theirs)]
  if values[0] is None or values[1] is None:
    return None
  return values[0] - values[1]


def _ranks(values):
  _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
  ends = np.cumsum(counts)
  return (ends - (counts - 1) / 2)[places]
