"""The best accuracy that a threshold can have, chosen with the labels.

MADDR's report (Zhang et al., MICCAI 2023): scores are scaled to [0, 1], and the
first of 1000 thresholds with the most right answers is kept. The released code
takes its thresholds between the least and the greatest score as they were
before the scaling, and so misses some. Every name says "oracle": the threshold
has seen the labels it is measured by.
"""

import dataclasses

from jaxtyping import Float, Int
import numpy as np

_COUNT = 1000  # thresholds


@dataclasses.dataclass(frozen=True)
class Accuracy:
  """Answers at the threshold with the best accuracy; abnormal is positive.

  Attributes:
    oracle_accuracy: share of right answers, on the scaled thresholds.
    oracle_threshold: that threshold, of scores scaled to [0, 1].
    oracle_precision: abnormal images among those called abnormal; 0 where
      none is.
    oracle_recall: those called abnormal among the abnormal images.
    oracle_f1: harmonic mean of precision and recall.
    oracle_true_positives: counts of the confusion matrix, as are the next;
      means of these over several trainings.
    oracle_false_positives: normal images that are called abnormal.
    oracle_false_negatives: abnormal images that are called normal.
    oracle_true_negatives: normal images that are called normal.
    oracle_released_accuracy: as `oracle_accuracy`, on the released thresholds;
      the others that follow likewise.
    oracle_released_threshold: that threshold.
    oracle_released_precision: at that threshold.
    oracle_released_recall: at that threshold.
    oracle_released_f1: at that threshold.
    oracle_released_true_positives: at that threshold, as are the next.
    oracle_released_false_positives: normal images called abnormal.
    oracle_released_false_negatives: abnormal images called normal.
    oracle_released_true_negatives: normal images called normal.
  """

  oracle_accuracy: float
  oracle_threshold: float
  oracle_precision: float
  oracle_recall: float
  oracle_f1: float
  oracle_true_positives: int | float
  oracle_false_positives: int | float
  oracle_false_negatives: int | float
  oracle_true_negatives: int | float
  oracle_released_accuracy: float
  oracle_released_threshold: float
  oracle_released_precision: float
  oracle_released_recall: float
  oracle_released_f1: float
  oracle_released_true_positives: int | float
  oracle_released_false_positives: int | float
  oracle_released_false_negatives: int | float
  oracle_released_true_negatives: int | float


def summarize(
  labels: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n"]
) -> Accuracy | None:
  """The best accuracy on both grids of thresholds.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: higher is more abnormal.

  Returns:
    None where one of the classes is missing, or all scores are equal.
  """
  scores = np.asarray(scores, np.float64)
  least, most = scores.min(initial=np.inf), scores.max(initial=-np.inf)
  abnormal = np.asarray(labels) == 1
  if not least < most or abnormal.all() or not abnormal.any():
    return None
  scaled = (scores - least) / (most - least)
  grid = np.arange(_COUNT) / _COUNT
  at = _best(abnormal, scaled, grid)
  # The mistake is kept: these are not on the scale of `scaled`.
  released = _best(abnormal, scaled, least + (most - least) * grid)
  return Accuracy(
    **{f"oracle_{name}": value for name, value in at.items()},
    **{f"oracle_released_{name}": value for name, value in released.items()},
  )


def _best(abnormal, scaled, thresholds):
  called = scaled >= thresholds[:, None]
  right = np.sum(called == abnormal, axis=1)
  at = int(np.argmax(right))  # the first of the best
  tp, fp = (int(np.sum(called[at] & kind)) for kind in (abnormal, ~abnormal))
  fn, tn = int(abnormal.sum()) - tp, int((~abnormal).sum()) - fp
  return {
    "accuracy": (tp + tn) / len(scaled),
    "threshold": float(thresholds[at]),
    "precision": tp / max(tp + fp, 1),
    "recall": tp / (tp + fn),
    "f1": 2 * tp / (2 * tp + fp + fn),
    "true_positives": tp,
    "false_positives": fp,
    "false_negatives": fn,
    "true_negatives": tn,
  }
