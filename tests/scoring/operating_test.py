"""Rates at operating points: by hand, and intervals that cover."""

import numpy as np
import pytest
from sklearn import metrics as sk

from medad_jax.scoring import operating


def test_the_interval_of_a_share_is_clopper_and_pearsons():
  found = operating.share(7, 20)  # a table's numbers
  assert found.value == 0.35
  np.testing.assert_allclose(found.ci, (0.1539, 0.5922), atol=5e-5)
  assert operating.share(0, 20).ci[0] == 0
  np.testing.assert_allclose(operating.share(0, 20).ci[1], 0.1684, atol=5e-5)
  np.testing.assert_allclose(operating.share(20, 20).ci[0], 0.8316, atol=5e-5)
  assert operating.share(0, 0) == operating.Rate(None, (0.0, 1.0))


def draw(seed, normal=60, abnormal=40, shift=1.5):
  rng = np.random.RandomState(seed)
  labels = np.repeat([0, 1], [normal, abnormal])
  return labels, rng.standard_normal(normal + abnormal) + shift * labels


@pytest.mark.parametrize("specificity", [0.9, 0.95, 0.99])
def test_sensitivity_is_that_of_the_roc(specificity):
  labels, scores = draw(0)
  found = operating.sensitivity_at(labels, scores, specificity)
  fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
  assert found.value == tpr[fpr <= 1 - specificity + 1e-9].max()
  assert found.ci[0] <= found.value <= found.ci[1]


def test_the_interval_of_the_sensitivity_covers_the_true_one():
  from scipy import stats

  for specificity in (0.9, 0.99):
    truth = stats.norm.sf(stats.norm.ppf(specificity) - 1.5)
    inside = [
      low <= truth <= high
      for low, high in (
        operating.sensitivity_at(*draw(seed), specificity).ci
        for seed in range(400)
      )
    ]
    assert np.mean(inside) > 0.95 - 3 * 0.011


def test_flags_are_counted_by_class_and_group():
  labels = np.array([0, 0, 0, 1, 1, 0])
  scores = np.array([1.0, 2.0, 3.0, 3.0, 4.0, 9.0])
  found = operating.at_threshold(labels, scores, 2.0)
  assert (found.n_normal, found.n_abnormal) == (4, 2)
  assert (found.sensitivity.value, found.specificity.value) == (1.0, 0.5)
  groups = operating.by_group(labels, scores, 2.0, list("aabbab"))
  assert groups["a"].sensitivity.value == 1.0
  assert groups["a"].specificity.value == 1.0
  assert groups["b"].specificity.value == 0.0
  assert groups["b"].sensitivity.value == 1.0


def test_predictive_values_follow_bayes():
  labels, scores = draw(1, 200, 100)
  found = operating.at_threshold(labels, scores, 1.0, level=0.975)
  positive, negative = operating.predictive_values(found, 0.1)
  se, sp = found.sensitivity.value, found.specificity.value
  np.testing.assert_allclose(
    positive.value, se * 0.1 / (se * 0.1 + (1 - sp) * 0.9)
  )
  np.testing.assert_allclose(
    negative.value, sp * 0.9 / (sp * 0.9 + (1 - se) * 0.1)
  )
  for rate in (positive, negative):
    assert rate.ci[0] < rate.value < rate.ci[1]
  # At the test set's own prevalence: what is counted there.
  positive, _ = operating.predictive_values(found, 1 / 3)
  np.testing.assert_allclose(positive.value, labels[scores > 1].mean())


def test_nothing_flagged_has_no_positive_predictive_value():
  labels, scores = draw(2)
  found = operating.at_threshold(labels, scores, 99.0)
  positive, negative = operating.predictive_values(found, 0.1)
  assert positive.value is None and positive.ci[0] == 0
  np.testing.assert_allclose(negative.value, 0.9)
