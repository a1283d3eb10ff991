"""Verdicts on several trainings beside a published mean."""

import numpy as np
import pytest
from scipy import stats

from medad_jax.scoring import intervals
from medad_jax.scoring import verdicts as agreed


def test_one_training_cannot_tell():
  found = agreed.agreement([0.5], 0.9, 0.001, 3)
  assert found == (pytest.approx(-0.4), None, "cannot tell: 1 seed")


@pytest.mark.parametrize(
  ("values", "published", "std", "verdict"),
  [
    ((0.85, 0.86, 0.87), 0.859, 0.003, agreed.CONSISTENT),
    ((0.85, 0.86, 0.87), 0.70, 0.003, agreed.DIFFERS),
    ((0.85, 0.86, 0.87), 0.91, None, agreed.DIFFERS),
    # Trainings that vary a lot are consistent with nearly everything.
    ((0.5, 0.7, 0.9), 0.60, None, agreed.CONSISTENT),
    # Rounding of the published value is no difference.
    ((0.8592, 0.8592, 0.8592), 0.859, 0.0, agreed.CONSISTENT),
  ],
)
def test_verdicts(values, published, std, verdict):
  seeds = None if std is None else 3
  assert agreed.agreement(values, published, std, seeds).verdict == verdict


def test_the_interval_is_welchs():
  ours, theirs = [0.80, 0.82, 0.87], [0.78, 0.79, 0.83]
  found = agreed.agreement(ours, np.mean(theirs), np.std(theirs, ddof=1), 3)
  test = stats.ttest_ind(ours, theirs, equal_var=False)
  low, high = test.confidence_interval(0.95)
  assert found.interval == pytest.approx((low, high), abs=1e-4)


def test_it_holds_its_level():
  rng = np.random.default_rng(0)
  draws = rng.normal(0.85, 0.01, (2000, 2, 3))
  verdicts = [
    agreed.agreement(list(a), b.mean(), b.std(ddof=1), 3).verdict
    for a, b in draws
  ]
  share = np.mean([verdict == agreed.DIFFERS for verdict in verdicts])
  assert 0.02 < share < 0.06  # Welch's t is a little careful with three each


def test_the_interval_of_a_mean_of_trainings():
  rng = np.random.default_rng(0)
  normal, abnormal = rng.normal(0, 1, (60, 3)), rng.normal(1, 1, (60, 3))
  low, high = intervals.mean_auroc_interval(normal, abnormal)
  areas = [
    np.mean(y[:, None] > x) for x, y in zip(normal.T, abnormal.T, strict=True)
  ]
  assert low < np.mean(areas) < high
  # Of the same training three times it is that training's.
  same = [np.repeat(x[:, :1], 3, 1) for x in (normal, abnormal)]
  ends = intervals.auroc_interval(normal[:, 0], abnormal[:, 0])
  assert intervals.mean_auroc_interval(*same) == pytest.approx(ends)
  assert intervals.mean_auroc_interval(normal[:1], abnormal) is None


def test_a_difference_of_means_of_trainings():
  rng = np.random.default_rng(0)
  a, b = (
    (rng.normal(0, 1, (60, 2)), rng.normal(d, 1, (60, 2))) for d in (1, 2)
  )
  found = intervals.mean_auroc_difference(a, b)
  each = [
    intervals.auroc_difference(
      (a[0][:, i], a[1][:, i]), (b[0][:, i], b[1][:, i])
    )
    for i in range(2)
  ]
  assert found.value == pytest.approx(np.mean([x.value for x in each]))
  widths = [x.interval[1] - x.interval[0] for x in each]
  assert found.interval[1] - found.interval[0] < max(widths)
  # Of one training each it is the difference of these.
  one = [(x[:, :1], y[:, :1]) for x, y in (a, b)]
  assert intervals.mean_auroc_difference(*one) == each[0]
