"""Sensitivity and predictive values at an operating point, with intervals."""

from collections.abc import Mapping, Sequence
import dataclasses

from jaxtyping import Float, Int
import numpy as np
from scipy import special

from medad_jax.scoring.intervals import Interval

_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Rate:
  """A probability and its interval.

  Attributes:
    value: as measured; None where there was nothing to measure.
    ci: its 95 % interval.
  """

  value: float | None
  ci: Interval


@dataclasses.dataclass(frozen=True)
class AtThreshold:
  """Sensitivity and specificity at a threshold.

  Attributes:
    sensitivity: share of abnormal images that are flagged.
    specificity: share of normal images that are not.
    n_normal: normal images.
    n_abnormal: abnormal images.
  """

  sensitivity: Rate
  specificity: Rate
  n_normal: int
  n_abnormal: int


def share(count: int, total: int, level: float = _LEVEL) -> Rate:
  """A share of independent images, with Clopper and Pearson's interval."""
  tail = (1 - level) / 2
  missed = total - count
  low = special.betaincinv(count, missed + 1, tail) if count else 0.0
  high = special.betaincinv(count + 1, missed, 1 - tail) if missed else 1.0
  return Rate(count / total if total else None, (float(low), float(high)))


def at_threshold(
  labels: Int[np.ndarray, "n"],
  scores: Float[np.ndarray, "n"],
  threshold: float,
  level: float = _LEVEL,
) -> AtThreshold:
  """Sensitivity and specificity of "the score is above the threshold".

  The intervals hold for a threshold that did not see these images.
  """
  flagged, normal = scores > threshold, labels == 0
  return AtThreshold(
    share(int(flagged[~normal].sum()), int((~normal).sum()), level),
    share(int((~flagged[normal]).sum()), int(normal.sum()), level),
    int(normal.sum()),
    int((~normal).sum()),
  )


def sensitivity_at(
  labels: Int[np.ndarray, "n"],
  scores: Float[np.ndarray, "n"],
  specificity: float,
) -> Rate:
  """Sensitivity at the threshold that lets this share of normals pass.

  The interval knows that the threshold comes from the same test set: order
  statistics bound the true one, Clopper and Pearson the share above either
  bound, each at 97.5 %.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: of the images.
    specificity: in (0, 1).
  """
  normal, abnormal = np.sort(scores[labels == 0]), scores[labels == 1]
  count = len(normal)
  if not count or not len(abnormal):
    return Rate(None, (0.0, 1.0))
  # The smallest score that at least this share of normals does not exceed.
  rank = int(np.ceil(specificity * count - 1e-9))
  level = (1 + _LEVEL) / 2
  tail = (1 - level) / 2
  # P(the k-th smallest is below the quantile) = P(Binomial >= k).
  chances = special.bdtr(np.arange(count + 1), count, specificity)
  below, above = np.searchsorted(chances, (tail, 1 - tail)) + (0, 1)
  ends = (
    -np.inf if below < 1 else normal[below - 1],
    np.inf if above > count else normal[above - 1],
  )
  found = [int((abnormal > end).sum()) for end in (normal[rank - 1], *ends)]
  value, most, fewest = (share(k, len(abnormal), level) for k in found)
  return Rate(value.value, (fewest.ci[0], most.ci[1]))


def predictive_values(
  found: AtThreshold, prevalence: float
) -> tuple[Rate, Rate]:
  """Positive and negative predictive value at a prevalence.

  The ends come from those of sensitivity and specificity, so that intervals of
  97.5 % there give at least 95 % here.

  Args:
    found: at the threshold, with intervals of 97.5 %.
    prevalence: of abnormal images where the test will be used, in (0, 1).
  """
  sensitivity, specificity = found.sensitivity, found.specificity

  def positive(sensitivity, specificity):
    right = sensitivity * prevalence
    wrong = (1 - specificity) * (1 - prevalence)
    return right / (right + wrong) if right + wrong else None

  def negative(sensitivity, specificity):
    right = specificity * (1 - prevalence)
    wrong = (1 - sensitivity) * prevalence
    return right / (right + wrong) if right + wrong else None

  rates = []
  for rule in (positive, negative):
    # Both rise with both. Where nothing is flagged there is no value.
    low = rule(sensitivity.ci[0], specificity.ci[0])
    high = rule(sensitivity.ci[1], specificity.ci[1])
    value = None
    if sensitivity.value is not None and specificity.value is not None:
      value = rule(sensitivity.value, specificity.value)
    rates.append(
      Rate(value, (0.0 if low is None else low, 1.0 if high is None else high))
    )
  return rates[0], rates[1]


def by_group(
  labels: Int[np.ndarray, "n"],
  scores: Float[np.ndarray, "n"],
  threshold: float,
  groups: Sequence[str],
) -> Mapping[str, AtThreshold]:
  """Sensitivity and specificity of every group of images, by its name."""
  names = np.asarray(groups)
  return {
    str(name): at_threshold(
      labels[names == name], scores[names == name], threshold
    )
    for name in dict.fromkeys(groups)
  }
