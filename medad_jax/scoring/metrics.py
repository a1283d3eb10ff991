"""How well scores tell abnormal from normal images; numpy, on the host.

Every function takes the scores of a whole test set at once, so a result never
depends on batches. Where one class is missing a metric is undefined and the
functions return None: undefined is neither 0 nor a crash.
"""

from typing import Any

from jaxtyping import Bool, Float, Integer
import numpy as np

from medad_jax.scoring import intervals

Labels = Integer[np.ndarray, "n"] | Bool[np.ndarray, "n"]


def summarize(labels: Labels, scores: Float[np.ndarray, "n"]) -> dict[str, Any]:
  """All metrics of one score, ready for JSON.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: any finite values; higher is more abnormal.

  Returns:
    `auroc`, `auroc_ci` (95 %), `ap`, `ap_ci` (95 %), `chi2`,
    `chi2_corrected`, `n_normal`, `n_abnormal`; None where undefined.

  Raises:
    ValueError: a label that is neither 0 nor 1, or a score that is not finite.
  """
  normal, abnormal = split(labels, scores)
  scaled = split(labels, min_max(scores))
  return {
    "auroc": auroc(labels, scores),
    "auroc_ci": _as_list(intervals.auroc_interval(normal, abnormal)),
    "ap": average_precision(labels, scores),
    "ap_ci": _as_list(intervals.average_precision_interval(normal, abnormal)),
    "chi2": chi_squared(*scaled),
    "chi2_corrected": chi_squared_corrected(*scaled),
    "n_normal": len(normal),
    "n_abnormal": len(abnormal),
  }


def compare(
  labels: Labels, a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]
) -> dict[str, Any]:
  """How much better score `a` is than score `b` on the same images.

  Returns:
    `auroc_difference` (a minus b), `ci` (95 %) and two-sided `p` of the paired
    DeLong test, ready for JSON; None where undefined.

  Raises:
    ValueError: as `summarize`.
  """
  difference = intervals.auroc_difference(split(labels, a), split(labels, b))
  if difference is None:
    return {"auroc_difference": None, "ci": None, "p": None}
  return {
    "auroc_difference": difference.value,
    "ci": _as_list(difference.interval),
    "p": difference.p,
  }


def auroc(labels: Labels, scores: Float[np.ndarray, "n"]) -> float | None:
  """Area under the ROC curve, in [0, 1]; a tie counts one half.

  Equals scikit-learn's `roc_auc_score`. None when a class is missing.

  Raises:
    ValueError: as `summarize`.
  """
  curve = roc_curve(labels, scores)
  if curve is None:
    return None
  false_positives, true_positives, _ = curve
  return float(np.trapezoid(true_positives, false_positives))


def average_precision(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> float | None:
  """Step-wise area under the precision-recall curve, in (0, 1].

  Sum of (R_i - R_(i-1)) P_i over distinct thresholds, as scikit-learn's
  `average_precision_score`. None when a class is missing.

  Raises:
    ValueError: as `summarize`.
  """
  curve = precision_recall_curve(labels, scores)
  if curve is None:
    return None
  precision, recall, _ = curve
  return float(np.sum(np.diff(recall) * precision[1:]))


def roc_curve(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """One point for each distinct score, thresholds falling from infinity.

  Returns:
    False positive rates, true positive rates and thresholds, each [t + 1] with
    t distinct scores, starting at (0, 0, inf); None when a class is missing.

  Raises:
    ValueError: as `summarize`.
  """
  true_positives, false_positives, thresholds = _counts(labels, scores)
  if not true_positives[-1] or not false_positives[-1]:
    return None
  return (
    false_positives / false_positives[-1],
    true_positives / true_positives[-1],
    thresholds,
  )


def precision_recall_curve(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
  """One point for each distinct score, thresholds falling from infinity.

  Returns:
    Precisions, recalls and thresholds, each [t + 1] with t distinct scores,
    starting at (1, 0, inf); None when a class is missing.

  Raises:
    ValueError: as `summarize`.
  """
  true_positives, false_positives, thresholds = _counts(labels, scores)
  if not true_positives[-1] or not false_positives[-1]:
    return None
  flagged = true_positives[1:] + false_positives[1:]
  precision = np.concatenate([[1.0], true_positives[1:] / flagged])
  return precision, true_positives / true_positives[-1], thresholds


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
    ValueError: as `summarize`.
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


def _counts(
  labels: Labels, scores: Float[np.ndarray, "n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """True and false positives at each distinct threshold, from infinity down."""
  normal, abnormal = split(labels, scores)
  distinct = np.unique(np.concatenate([normal, abnormal]))
  return (
    _at_least(np.sort(abnormal), distinct),
    _at_least(np.sort(normal), distinct),
    np.concatenate([[np.inf], distinct[::-1]]),
  )


def _at_least(ordered: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
  """How many values reach each threshold, thresholds falling from infinity."""
  counts = len(ordered) - np.searchsorted(ordered, thresholds[::-1])
  return np.concatenate([[0], counts])


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


def _as_list(interval: tuple[float, float] | None) -> list[float] | None:
  return None if interval is None else list(interval)
