"""Uncertainty of metrics: 95 % intervals and paired differences.

The functions take the scores of normal and of abnormal images apart. They
treat images as independent: with ten images a patient, intervals that should
hold the truth 95 times of 100 hold it 60 to 70 times. Where patients are known,
`by_patient` has intervals that resample these. All describe sampling of the
test set, not variation over seeds.
"""

import math
import statistics
from typing import NamedTuple

from jaxtyping import Float, Int
import numpy as np
from scipy import optimize, special

_LEVEL = 0.95
_Z = statistics.NormalDist().inv_cdf(0.5 + _LEVEL / 2)
# Images of the smaller class at which DeLong's variance counts one half.
_PRIOR = 10
_TINY = 1e-12
# Numbers held at a time by the bootstrap: 32 MB an array.
_CHUNK = 4_000_000


Interval = tuple[float, float]


class Difference(NamedTuple):
  """AUROC of one score minus that of another, on the same images."""

  value: float
  interval: Interval | None
  p: float | None


def auroc_interval(
  normal: Float[np.ndarray, "n"], abnormal: Float[np.ndarray, "m"]
) -> Interval | None:
  """95 % interval of the AUROC, inside [0, 1].

  The ends are the areas from which the measured one differs by 1.96 standard
  errors. The error is taken at the end and not at the measured area, where it
  vanishes near 1 and near 0: it is Newcombe's, a function of the area and of
  the numbers of images ("Confidence intervals for an effect size measure based
  on the Mann-Whitney statistic", Statistics in Medicine 2006, part 2, method
  5). Where DeLong's variance of these scores is larger than his, as with
  classes of unequal spread, his grows with it, less so with few images, where
  that variance is itself unsure.

  Better scores have higher ends. This is exact where DeLong's variance is the
  smaller one, so near 1 and near 0; elsewhere fewer than one of 1,000 random
  improvements of one image lowered an end, by less than 0.001. Coverage is what
  `python -m benchmarks.coverage` prints.

  Args:
    normal: finite scores of normal images.
    abnormal: finite scores of abnormal images.

  Returns:
    Lower and upper end; None with fewer than two images in a class.
  """
  if min(len(normal), len(abnormal)) < 2:
    return None
  return _interval_of(*_placements(normal, abnormal))


def mean_auroc_interval(
  normal: Float[np.ndarray, "n s"], abnormal: Float[np.ndarray, "m s"]
) -> Interval | None:
  """95 % interval of the mean AUROC of several trainings on the same images.

  It describes sampling of the test images, as `auroc_interval` does, and holds
  the trainings fixed: an image's placement is its mean over them.

  Args:
    normal: finite scores of normal images, a column a training.
    abnormal: finite scores of abnormal images.

  Returns:
    Lower and upper end; None with fewer than two images in a class.
  """
  if min(len(normal), len(abnormal)) < 2:
    return None
  return _interval_of(*_mean_placements(normal, abnormal))


def _interval_of(of_abnormal: np.ndarray, of_normal: np.ndarray) -> Interval:
  """The interval of the area that is the mean of these placements."""
  n, m = len(of_normal), len(of_abnormal)
  area = float(of_abnormal.mean())
  ours = newcombe_variance(area, n, m)
  ratio = 1.0
  if ours > 0:
    delong = _variance(of_abnormal) + _variance(of_normal)
    ratio = max(1.0, shrunk(delong / ours, n, m))
  return area_ends(area, n, m, ratio)


def area_ends(area: float, n: int, m: int, ratio: float) -> Interval:
  """The areas from which the measured one differs by 1.96 standard errors.

  Args:
    area: as measured.
    n: normal cases.
    m: abnormal cases.
    ratio: of the variance at every area to `newcombe_variance`.
  """

  def end(limit: float) -> float:
    """The area between the measured one and `limit` at 1.96 errors."""
    if area == limit:
      return limit

    def excess(other: float) -> float:
      error = math.sqrt(ratio * newcombe_variance(other, n, m))
      return abs(area - other) - _Z * error

    # An area of 0 or 1 has no error itself: start beside it.
    inner = min(max(area, _TINY), 1 - _TINY)
    return float(optimize.brentq(excess, limit, inner, xtol=1e-14))

  return end(0.0), end(1.0)


def shrunk(ratio: float, n: int, m: int) -> float:
  """A measured ratio of variances, nearer to 1 the fewer cases there are."""
  trust = min(n, m) / (min(n, m) + _PRIOR)
  return trust * ratio + 1 - trust


def auroc_difference(
  a: tuple[Float[np.ndarray, "n"], Float[np.ndarray, "m"]],
  b: tuple[Float[np.ndarray, "n"], Float[np.ndarray, "m"]],
) -> Difference | None:
  """AUROC of score `a` minus AUROC of score `b`, paired by image.

  DeLong et al. (Biometrics 1988); the variance of the difference is that of
  the per-image differences of the placements.

  Args:
    a: one score's values of normal and of abnormal images, all finite.
    b: the other's, images in the same order.

  Returns:
    Difference in [-1, 1], 95 % interval and two-sided p-value. Interval and p
    are None where two unequal scores leave no variance to judge by; the whole
    is None with fewer than two images in a class.
  """
  return mean_auroc_difference(*((x[:, None], y[:, None]) for x, y in (a, b)))


def mean_auroc_difference(
  a: tuple[Float[np.ndarray, "n s"], Float[np.ndarray, "m s"]],
  b: tuple[Float[np.ndarray, "n t"], Float[np.ndarray, "m t"]],
) -> Difference | None:
  """Mean AUROC of some trainings minus that of others, paired by image.

  As `auroc_difference`, with the trainings held fixed: an image's placement is
  its mean over them.

  Args:
    a: values of normal and of abnormal images, a column a training.
    b: the other's, images in the same order.
  """
  if min(len(a[0]), len(a[1])) < 2:
    return None
  means = zip(_mean_placements(*a), _mean_placements(*b), strict=True)
  gaps = [x - y for x, y in means]
  value = float(gaps[0].mean())
  return difference(value, math.sqrt(sum(_variance(gap) for gap in gaps)))


def difference(value: float, error: float) -> Difference:
  """A difference of two areas whose standard error is known."""
  if error == 0:
    same = value == 0
    return Difference(
      value, (0.0, 0.0) if same else None, 1.0 if same else None
    )
  interval = (max(value - _Z * error, -1.0), min(value + _Z * error, 1.0))
  return Difference(value, interval, math.erfc(abs(value) / error / 2**0.5))


def average_precision_interval(
  normal: Float[np.ndarray, "n"],
  abnormal: Float[np.ndarray, "m"],
  draws: int = 1000,
  seed: int = 0,
) -> Interval | None:
  """95 % interval of the average precision, inside (0, 1).

  On the logit scale around the measured value (Boyd et al., ECML 2013), with
  the standard error of a stratified bootstrap: every draw keeps the numbers of
  normal and abnormal images, as the average precision depends on their ratio.
  Percentiles of the draws are not used: a resampled set repeats images, which
  raises its average precision, and their coverage falls to 87 % at 20 images a
  class.

  Args:
    normal: finite scores of normal images.
    abnormal: finite scores of abnormal images.
    draws: bootstrap samples.
    seed: of the draws; the same seed gives the same interval.

  Returns:
    Lower and upper end; None with fewer than two images in a class, or when
    the classes separate perfectly: every draw then does so too.
  """
  if min(len(normal), len(abnormal)) < 2:
    return None
  thresholds, places = _places(abnormal, normal)
  counts = (_counts(place[None], thresholds) for place in places)
  precision = float(precisions(*counts)[0])
  if precision == 1:
    return None
  rng = np.random.default_rng(seed)
  size = max(1, _CHUNK // (len(normal) + len(abnormal)))
  sizes = [min(size, draws - done) for done in range(0, draws, size)]
  error = np.concatenate(
    [_resampled_precisions(rng, places, thresholds, k) for k in sizes]
  ).std(ddof=1)
  return logit_interval(precision, float(error))


def _mean_placements(
  normal: np.ndarray, abnormal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Placements of every image, their mean over trainings."""
  each = [_placements(x, y) for x, y in zip(normal.T, abnormal.T, strict=True)]
  of_abnormal, of_normal = (np.mean(p, axis=0) for p in zip(*each, strict=True))
  return of_abnormal, of_normal


def _placements(
  normal: np.ndarray, abnormal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Share of normal images below each abnormal one, and abnormal above normal.

  Ties count one half. Both have the AUROC as their mean. Counts are doubled
  integers until the end: scores that rank alike give bit-equal placements.
  """

  def below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    ordered = np.sort(others)
    less = np.searchsorted(ordered, values, "left")
    return less + np.searchsorted(ordered, values, "right")

  n, m = len(normal), len(abnormal)
  doubled = 2 * m - below(normal, abnormal)
  return below(abnormal, normal) / (2 * n), doubled / (2 * m)


def design_effect(
  found: Float[np.ndarray, "n"], clusters: Int[np.ndarray, "n"]
) -> float:
  """The variance of a share over that of as many independent cases.

  Kish (Survey Sampling, 1965): the variance of the ratio of found to all, by
  linearization over clusters, over that of independent cases. It is at least 1,
  and the nearer to the mean number of cases in a cluster (as if those said the
  same) the fewer clusters there are, or where all cases say the same.

  Args:
    found: what share of a case counts, in [0, 1].
    clusters: a number of each case's cluster.
  """
  _, whose, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
  count, total, share = len(sizes), len(found), float(found.mean())
  most = total / count
  if count < 2 or not 0 < share < 1:
    return most
  single = share * (1 - share) / (total - 1)
  excess = np.bincount(whose, found) - share * sizes
  variance = count / (count - 1) * float(excess @ excess) / total**2
  trust = count / (count + _PRIOR)
  return max(1.0, trust * variance / single + (1 - trust) * most)


def wilson_interval(found: int | float, count: int | float) -> Interval | None:
  """95 % interval of a proportion, inside [0, 1]; None of nothing.

  Wilson's score interval: the proportions from which the measured one differs
  by 1.96 of their own standard errors (Wilson, JASA 1927).

  Args:
    found: how many, 0 to `count`; perhaps a mean over repetitions.
    count: of how many; of dependent cases, of how many independent ones.
  """
  if not count:
    return None
  share, weight = found / count, _Z**2 / count
  middle = (share + weight / 2) / (1 + weight)
  half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
  return max(middle - half, 0.0), min(middle + half, 1.0)


def newcombe_variance(area: float, normal: int, abnormal: int) -> float:
  """Variance of the measured area where the true one is `area`.

  Hanley & McNeil's (Radiology 1982) for exponential scores, made symmetric in
  the two classes: both their terms count for the mean of the class sizes.
  """
  mean = (normal + abnormal) / 2 - 1
  terms = (1 - area) / (2 - area) + area / (1 + area)
  return area * (1 - area) * (1 + mean * terms) / (normal * abnormal)


def _variance(placements: np.ndarray) -> float:
  """Variance of the mean of independent placements."""
  return float(placements.var(ddof=1)) / len(placements)


def logit_interval(
  value: float, error: float, cases: int | None = None
) -> Interval:
  """The interval of a share in (0, 1) whose standard error is known.

  Args:
    value: as measured.
    error: its standard error.
    cases: resampled cases that a bootstrap had the error from, which are few:
      it then counts as one of `cases - 1` degrees of freedom, and is corrected
      for what resampling of so few loses. None where they are many.
  """
  wide = _Z
  if cases is not None:
    wide = float(special.stdtrit(cases - 1, 0.5 + _LEVEL / 2))
    wide *= math.sqrt(cases / (cases - 1))
  center = math.log(value / (1 - value))
  half = wide * error / (value * (1 - value))
  return _sigmoid(center - half), _sigmoid(center + half)


def _sigmoid(x: float) -> float:
  return 0.5 * (1 + math.tanh(x / 2))


def _places(*groups: np.ndarray) -> tuple[int, list[np.ndarray]]:
  """The number of distinct values, and each value's place from the top."""
  distinct = np.unique(np.concatenate(groups))
  last = len(distinct) - 1
  return last + 1, [last - np.searchsorted(distinct, g) for g in groups]


def _resampled_precisions(
  rng: np.random.Generator,
  places: list[np.ndarray],
  thresholds: int,
  draws: int,
) -> Float[np.ndarray, "draws"]:
  """Average precision of `draws` resampled test sets.

  A resampled set is the same places with multiplicities, so one sort serves
  all draws and a draw is two cumulative sums.
  """
  picks = [p[rng.integers(len(p), size=(draws, len(p)))] for p in places]
  return precisions(*(_counts(p, thresholds) for p in picks))


def _counts(
  places: Int[np.ndarray, "d n"], thresholds: int
) -> Int[np.ndarray, "d t"]:
  """Numbers of images of each set that reach each threshold, falling."""
  cells = places + thresholds * np.arange(len(places))[:, None]
  counts = np.bincount(cells.ravel(), minlength=len(places) * thresholds)
  return np.cumsum(counts.reshape(len(places), thresholds), axis=1)


def precisions(
  true: Int[np.ndarray, "d t"], false: Int[np.ndarray, "d t"]
) -> Float[np.ndarray, "d"]:
  """Average precision of each set, from true and false positive counts."""
  hits = np.diff(true, axis=1, prepend=0)
  # Thresholds that no resampled image reaches have no hits either.
  precision = true / np.maximum(true + false, 1)
  return np.sum(hits * precision, axis=1) / true[:, -1]
