"""Metrics of separating abnormal from normal images; numpy, on the host.

Every function takes the scores of a whole test set at once, so a result never
depends on batches. Where one class is missing a metric is undefined and the
functions return None: undefined is neither 0 nor a crash.
"""

import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int, Integer
import numpy as np

from medad_jax.scoring import by_patient, intervals

Labels = Integer[np.ndarray, "n"] | Bool[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Metrics of one score on the images of a test set; None where undefined.

  Attributes:
    auroc: area under the ROC curve, in [0, 1].
    auroc_ci: its 95 % interval.
    ap: average precision, in (0, 1].
    ap_ci: its 95 % interval.
    chi2: `chi_squared` of the scores, scaled to [0, 1].
    chi2_corrected: `chi_squared_corrected` of the same.
    fpr95: `false_positive_rate` at a sensitivity of 95 %.
    fpr99: the same at 99 %.
    n_normal: normal images.
    n_abnormal: abnormal images.
    n_patients: patients that the intervals resample; None where images count
      as independent.
  """

  auroc: float | None
  auroc_ci: intervals.Interval | None
  ap: float | None
  ap_ci: intervals.Interval | None
  chi2: float | None
  chi2_corrected: float | None
  fpr95: float | None
  fpr99: float | None
  n_normal: int
  n_abnormal: int
  n_patients: int | None = None


def rank(
  labels: Labels,
  scores: Float[np.ndarray, "n"],
  patients: Int[np.ndarray, "n"] | None = None,
) -> Ranking:
  """All metrics of one score.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: any finite values; higher is more abnormal.
    patients: a number a patient; None where images are independent.

  Raises:
    ValueError: a label that is neither 0 nor 1, or a score that is not finite.
  """
  normal, abnormal = split(labels, scores)
  scaled = split(labels, min_max(scores))
  if patients is None:
    auroc_ci = intervals.auroc_interval(normal, abnormal)
    ap_ci = intervals.average_precision_interval(normal, abnormal)
  else:
    auroc_ci, ap_ci = by_patient.intervals_of(labels, scores, patients)
  return Ranking(
    auroc=auroc(labels, scores),
    auroc_ci=auroc_ci,
    ap=average_precision(labels, scores),
    ap_ci=ap_ci,
    chi2=chi_squared(*scaled),
    chi2_corrected=chi_squared_corrected(*scaled),
    fpr95=false_positive_rate(labels, scores, 0.95),
    fpr99=false_positive_rate(labels, scores, 0.99),
    n_normal=len(normal),
    n_abnormal=len(abnormal),
    n_patients=None if patients is None else len(np.unique(patients)),
  )


def mean_intervals(
  labels: Labels,
  scores: Float[np.ndarray, "n s"],
  patients: Int[np.ndarray, "n"] | None = None,
) -> tuple[intervals.Interval | None, intervals.Interval | None]:
  """95 % intervals of mean AUROC and average precision of several trainings.

  They describe sampling of the test images, or patients, and hold the trainings
  fixed.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: finite; a column a training.
    patients: a number a patient; None where images are independent.
  """
  each = by_patient.alone(labels) if patients is None else patients
  auroc_ci, ap_ci = by_patient.intervals_of(labels, scores, each)
  if patients is None:
    normal, abnormal = (scores[labels == x] for x in (0, 1))
    auroc_ci = intervals.mean_auroc_interval(normal, abnormal)
  return auroc_ci, ap_ci


def compare(
  labels: Labels,
  a: Float[np.ndarray, "n"],
  b: Float[np.ndarray, "n"],
  patients: Int[np.ndarray, "n"] | None = None,
) -> intervals.Difference | None:
  """The AUROC of score `a` minus that of `b`, paired by image.

  By DeLong's test or, where patients are known, by resampling these. None with
  fewer than two images, or patients, in a class.

  Raises:
    ValueError: as `rank`.
  """
  pairs = split(labels, a), split(labels, b)  # which also checks them
  if patients is None:
    return intervals.auroc_difference(*pairs)
  return by_patient.auroc_difference(labels, a, b, patients)


def auroc(labels: Labels, scores: Float[np.ndarray, "n"]) -> float | None:
  """Area under the ROC curve, in [0, 1]; a tie counts one half.

  None when a class is missing.

  Raises:
    ValueError: as `rank`.
  """
  return _by_scikit_learn("roc_auc_score", labels, scores)


def average_precision(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> float | None:
  """Step-wise area under the precision-recall curve, in (0, 1].

  Sum of (R_i - R_(i-1)) P_i over distinct thresholds. None when a class is
  missing.

  Raises:
    ValueError: as `rank`.
  """
  return _by_scikit_learn("average_precision_score", labels, scores)


def roc_curve(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """One point for each distinct score, thresholds falling from infinity.

  Returns:
    False positive rates, true positive rates and thresholds, each [t + 1] with
    t distinct scores, starting at (0, 0, inf); None when a class is missing.

  Raises:
    ValueError: as `rank`.
  """
  return _by_scikit_learn("roc_curve", labels, scores, drop_intermediate=False)


def false_positive_rate(
  labels: Labels, scores: Float[np.ndarray, "n"], sensitivity: float
) -> float | None:
  """Share of normal images above the threshold that finds enough abnormal ones.

  The threshold is the highest at which the true positive rate reaches
  `sensitivity`. None when a class is missing.

  Raises:
    ValueError: as `rank`.
  """
  curve = roc_curve(labels, scores)
  if curve is None:
    return None
  false, true, _ = curve
  return float(false[np.argmax(true >= sensitivity)])


def precision_recall_curve(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """One point for each distinct score, thresholds falling from infinity.

  Returns:
    Precisions, recalls and thresholds, each [t + 1] with t distinct scores,
    starting at (1, 0, inf); None when a class is missing.

  Raises:
    ValueError: as `rank`.
  """
  curve = _by_scikit_learn("precision_recall_curve", labels, scores)
  if curve is None:
    return None
  # scikit-learn's thresholds rise, and its point at infinity has none.
  precision, recall, thresholds = (values[::-1] for values in curve)
  return precision, recall, np.concatenate([[np.inf], thresholds])


def chi_squared(
  normal: Float[np.ndarray, "n"],
  abnormal: Float[np.ndarray, "m"],
  bins: int = 100,
) -> float | None:
  """The reference's chi-squared distance of two score histograms.

  1/2 sum ((a - b)^2 + e) / (a + b + e), e = 1e-15, over density histograms on
  [0, 1]. As in the official DDAD-ASR code, a bin that is empty in both classes
  adds 0.5: distances of concentrated scores carry tens of such points, see
  `chi_squared_corrected`.

  Args:
    normal: scores in [0, 1].
    abnormal: scores in [0, 1].
    bins: number of equal bins.

  Returns:
    The distance, None when a class is missing.

  Raises:
    ValueError: a value outside [0, 1].
  """
  densities = _densities(normal, abnormal, bins)
  if densities is None:
    return None
  a, b = densities
  tiny = 1e-15
  return float(0.5 * np.sum(((a - b) ** 2 + tiny) / (a + b + tiny)))


def chi_squared_corrected(
  normal: Float[np.ndarray, "n"],
  abnormal: Float[np.ndarray, "m"],
  bins: int = 100,
) -> float | None:
  """`chi_squared` over the bins that hold a score: 0 (same) to `bins`.

  Raises:
    ValueError: a value outside [0, 1].
  """
  densities = _densities(normal, abnormal, bins)
  if densities is None:
    return None
  a, b = densities
  held = a + b > 0
  return float(0.5 * np.sum((a - b)[held] ** 2 / (a + b)[held]))


def min_max(scores: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
  """Scores moved to [0, 1] by their extremes; all 0 when they are all equal.

  Raises:
    ValueError: a score that is not finite.
  """
  values = _finite(scores)
  if not len(values):
    return values
  low, high = values.min(), values.max()
  # Halves first: the range of two large doubles can overflow.
  return (values / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)


def split(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "a"], Float[np.ndarray, "b"]]:
  """The scores of normal and of abnormal images, float64.

  Raises:
    ValueError: as `rank`.
  """
  values = _finite(scores)
  if len(labels) != len(values):
    raise ValueError(
      f"{len(labels)} labels came with {len(values)} scores; give one label"
      " an image."
    )
  strange = sorted(set(np.unique(labels).tolist()) - {0, 1})
  if strange:
    raise ValueError(
      f"Labels {strange} were given where 0 (normal) or 1 (abnormal) is"
      " wanted; leave unlabelled images out."
    )
  return values[labels == 0], values[labels == 1]


def _by_scikit_learn(
  name: str, labels: Labels, scores: np.ndarray, **options: Any
) -> Any:
  """A function of `sklearn.metrics`, or None when a class is missing."""
  # A second to import, which a training without validation does not need.
  from sklearn import metrics

  normal, abnormal = split(labels, scores)
  if not len(normal) or not len(abnormal):
    return None
  return getattr(metrics, name)(labels, _finite(scores), **options)


def _densities(
  normal: np.ndarray, abnormal: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray] | None:
  """Density histograms of both classes on [0, 1], None if one has no score."""
  for values in (normal, abnormal):
    if not len(values):
      return None
    if not (values.min() >= 0 and values.max() <= 1):
      raise ValueError(
        f"Scores from {values.min():g} to {values.max():g} were given where"
        " [0, 1] is wanted; rescale both classes together with min_max."
      )
  a, b = (
    np.histogram(values, bins, (0.0, 1.0), density=True)[0]
    for values in (normal, abnormal)
  )
  return a, b


def _finite(scores: np.ndarray) -> np.ndarray:
  values = np.asarray(scores, np.float64)
  broken = np.flatnonzero(~np.isfinite(values))
  if len(broken):
    raise ValueError(
      f"{len(broken)} of {len(values)} scores are not finite, first at"
      f" position {broken[0]}; a score must be a number to be ranked."
    )
  return values
