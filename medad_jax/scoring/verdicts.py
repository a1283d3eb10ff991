"""Agreement of trainings with a published mean, and with other trainings."""

from collections.abc import Sequence
import math
import statistics
from typing import NamedTuple

from scipy import stats

from medad_jax.scoring import intervals

CONSISTENT, DIFFERS = "consistent", "differs"
ONE_SEED = "cannot tell: 1 seed"

# Variance of what rounding to a tenth of a percent point takes away.
_ROUNDING = 0.001**2 / 12


class Agreement(NamedTuple):
  """A mean of ours beside a published one.

  Attributes:
    difference: ours minus theirs.
    interval: its 95 % interval over trainings; None with one of ours.
    verdict: `CONSISTENT` where the interval holds 0, `DIFFERS`, or `ONE_SEED`.
  """

  difference: float
  interval: intervals.Interval | None
  verdict: str


def agreement(
  values: Sequence[float],
  published: float,
  std: float | None = None,
  seeds: int | None = None,
) -> Agreement:
  """Compares trainings with a published mean by Welch's t.

  Both are of the same test images, so only the chance of training counts. A
  published mean of unknown deviation counts as one training that varies as
  ours do.

  Args:
    values: a metric of each of our trainings, at least one.
    published: the mean.
    std: its standard deviation over trainings; None where it is unknown.
    seeds: trainings behind it; None where it is unknown.
  """
  difference = statistics.fmean(values) - published
  if len(values) < 2:
    return Agreement(difference, None, ONE_SEED)
  ours = statistics.variance(values) / len(values)
  if std is None or not seeds or seeds < 2:
    theirs, freedom = statistics.variance(values), float(len(values) - 1)
  else:
    theirs = std**2 / seeds
    parts = ours**2 / (len(values) - 1) + theirs**2 / (seeds - 1)
    freedom = (ours + theirs) ** 2 / parts if parts else math.inf
  error = math.sqrt(ours + theirs + _ROUNDING)
  half = float(stats.t.ppf(0.975, freedom)) * error
  verdict = CONSISTENT if abs(difference) <= half else DIFFERS
  return Agreement(difference, (difference - half, difference + half), verdict)


def paired(
  first: Sequence[float], second: Sequence[float]
) -> tuple[float, intervals.Interval | None]:
  """The mean difference of two runs with the same seeds, and its interval.

  Args:
    first: a metric of each seed.
    second: the same of the run that is subtracted, seed by seed.

  Returns:
    The mean, and its 95 % interval by Student's t with n - 1 degrees of
    freedom; None with one seed. It describes other seeds on the same test
    images, not other images.
  """
  gaps = [x - y for x, y in zip(first, second, strict=True)]
  mean, n = statistics.fmean(gaps), len(gaps)
  if n < 2:
    return mean, None
  error = statistics.stdev(gaps) / math.sqrt(n)
  half = float(stats.t.ppf(0.975, n - 1)) * error
  return mean, (mean - half, mean + half)
