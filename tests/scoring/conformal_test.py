"""Thresholds keep their promise, exactly where theory says how often."""

import numpy as np
import pytest
from scipy import stats

from medad_jax.scoring import conformal
from medad_jax.types import UserError


def draw(seed, count):
  """Scores as methods make them: skewed, rounded, with ties."""
  rng = np.random.RandomState(seed)
  return np.round(rng.lognormal(0, 0.6, count), 2)


@pytest.mark.parametrize(
  ("rate", "confidence", "needed"),
  [(0.05, None, 19), (0.01, None, 99), (0.5, None, 1), (0.05, 0.95, 59)],
)
def test_the_fewest_images_give_a_threshold_and_one_less_none(
  rate, confidence, needed
):
  assert conformal.least(rate, confidence) == needed
  scores = np.arange(float(needed))
  assert conformal.threshold(scores, rate, confidence) == needed - 1
  with pytest.raises(UserError, match=f"need {needed} held-out normal images"):
    conformal.threshold(scores[1:], rate, confidence)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (40, 0.1), (99, 0.05)])
def test_false_alarms_over_splits_are_at_most_the_rate(count, rate):
  """Without ties their mean is known: (n + 1 - k) / (n + 1)."""
  pool = np.random.RandomState(0).standard_normal(4000)
  found = []
  for seed in range(300):
    order = np.random.RandomState(seed).permutation(len(pool))
    held, new = pool[order[:count]], pool[order[count:]]
    found.append((new > conformal.threshold(held, rate)).mean())
  expected = np.floor(rate * (count + 1) + 1e-9) / (count + 1)
  error = np.std(found) / len(found) ** 0.5
  assert expected <= rate
  assert abs(np.mean(found) - expected) < 4 * error


def test_ties_only_lower_the_rate():
  pool = draw(0, 4000)
  found = []
  for seed in range(200):
    order = np.random.RandomState(seed).permutation(len(pool))
    limit = conformal.threshold(pool[order[:39]], 0.05)
    found.append((pool[order[39:]] > limit).mean())
  assert np.mean(found) < 0.05 + 3 * np.std(found) / 200**0.5


def test_with_confidence_few_splits_exceed_the_rate():
  rng = np.random.RandomState(1)
  above = [
    1 - conformal.threshold(rng.rand(80), 0.1, 0.9) > 0.1 for _ in range(1000)
  ]
  assert 0.03 < np.mean(above) < 0.1 + 3 * 0.01
  rank = round(80 * conformal.threshold(np.arange(1, 81) / 80, 0.1, 0.9))
  risk = stats.binom.sf(rank - 1, 80, 0.9)
  assert risk <= 0.1 < stats.binom.sf(rank - 2, 80, 0.9)


def test_p_values_count_normal_images_that_score_as_high():
  held = np.array([3.0, 1.0, 2.0, 2.0])
  found = conformal.p_values(np.array([0.5, 2.0, 2.5, 9.0]), held)
  np.testing.assert_allclose(found, np.array([5, 4, 2, 1]) / 5)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.37])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_flag_is_a_small_p_value(rate, grouped):
  held, new = draw(1, 90), draw(2, 500)
  patients = np.random.RandomState(0).randint(0, 30, 90) if grouped else None
  limit = conformal.threshold(held, rate, patients=patients)
  p = conformal.p_values(new, held, patients)
  np.testing.assert_array_equal(new > limit, p <= rate + 1e-9)


def families(rng, count):
  """Scores of patients: alike within each, and more where they are low."""
  level = rng.standard_normal(count)
  sizes = np.where(level < -0.5, 12, rng.randint(1, 4, count))
  patients = np.repeat(np.arange(count), sizes)
  return level[patients] + 0.2 * rng.standard_normal(sizes.sum()), patients


def test_patients_with_many_images_count_once():
  rng = np.random.RandomState(0)
  found = {"images": [], "patients": [], "sure": []}
  for _ in range(400):
    held, patients = families(rng, 39)
    new, of = families(rng, 200)
    first = np.unique(of, return_index=True)[1]
    # A random image of a new patient: images of one are alike here.
    for kind, given in (("images", None), ("patients", patients)):
      limit = conformal.threshold(held, 0.1, patients=given)
      found[kind].append((new[first] > limit).mean())
    limit = conformal.threshold(held, 0.1, 0.9, patients)
    any_flag = np.zeros(200, bool)
    np.maximum.at(any_flag, of, new > limit)
    found["sure"].append(any_flag.mean() > 0.1)
  assert np.mean(found["images"]) > 0.15  # the guarantee is lost
  error = np.std(found["patients"]) / 20
  assert 0.08 < np.mean(found["patients"]) < 0.1 + 3 * error
  assert np.mean(found["sure"]) < 0.1 + 3 * 0.3 / 20


def test_patients_of_one_image_are_images():
  held, new = draw(3, 60), draw(4, 20)
  apart = np.random.RandomState(0).permutation(60)
  for confidence in (None, 0.9):
    one = conformal.threshold(held, 0.1, confidence)
    assert conformal.threshold(held, 0.1, confidence, apart) == one
  np.testing.assert_allclose(
    conformal.p_values(new, held, apart), conformal.p_values(new, held)
  )


def test_too_few_patients_are_counted_as_patients():
  with pytest.raises(UserError, match="need 19 held-out normal patients, and"):
    conformal.threshold(draw(0, 100), 0.05, patients=np.arange(100) // 10)


def test_drift_is_seen_where_there_is_some():
  held = draw(5, 100)
  assert conformal.drift(draw(6, 100), held) > 0.01
  assert conformal.drift(1.5 * draw(6, 100), held) < 0.01
