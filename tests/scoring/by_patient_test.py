"""Intervals by patient: what they hold, and what they agree with."""

import numpy as np
import pytest
from sklearn import metrics as sk

from medad_jax.scoring import by_patient, intervals, metrics

EACH = 10  # images a patient


def simulate(rng, patients=40, each=EACH, gap=1.0):
  """Labels, scores and patients; half the variance is the patient's."""
  whose = np.repeat(np.arange(patients), each)
  labels = whose % 2
  shared = rng.normal(size=patients)[whose]
  scores = gap * labels + (shared + rng.normal(size=len(whose))) / 2**0.5
  return labels, scores, whose


def test_intervals_hold_the_truth_where_those_of_images_do_not():
  rng = np.random.default_rng(0)
  truth = 0.76025  # the standard normal's distribution at 1 / sqrt(2)
  inside = np.zeros(2)
  for _ in range(200):
    labels, scores, whose = simulate(rng)
    found, _ = by_patient.intervals_of(labels, scores, whose, draws=200)
    apart = intervals.auroc_interval(*metrics.split(labels, scores))
    inside += [low <= truth <= high for low, high in (found, apart)]
  by_patients, by_images = inside / 200
  # Three standard errors of 200 tries at 95 % are 0.046.
  assert 0.90 <= by_patients <= 0.99
  assert by_images < 0.8


def test_average_precision_is_held_as_well():
  rng = np.random.default_rng(1)
  many = [simulate(rng, 4000)[:2] for _ in range(5)]
  truth = np.mean([metrics.average_precision(*one) for one in many])
  held = 0
  for _ in range(200):
    found = by_patient.intervals_of(*simulate(rng), draws=200)[1]
    held += found[0] <= truth <= found[1]
  assert 0.88 <= held / 200 <= 0.99


def test_a_weighted_set_is_the_set_that_repeats_its_images():
  rng = np.random.default_rng(2)
  labels = rng.integers(0, 2, 60)
  scores = rng.integers(0, 15, 60) / 3  # with ties
  weights = rng.integers(0, 4, (5, 60))
  areas, precisions = by_patient._Sorted(labels, scores).measure(weights)
  for row, area, precision in zip(weights, areas, precisions, strict=True):
    repeated = np.repeat(labels, row), np.repeat(scores, row)
    assert area == pytest.approx(sk.roc_auc_score(*repeated))
    assert precision == pytest.approx(sk.average_precision_score(*repeated))


def test_one_image_a_patient_is_near_the_interval_of_images():
  labels, scores, _ = simulate(np.random.default_rng(3), 400, 1)
  found, precision = by_patient.intervals_of(labels, scores, np.arange(400))
  pair = metrics.split(labels, scores)
  np.testing.assert_allclose(found, intervals.auroc_interval(*pair), atol=0.01)
  np.testing.assert_allclose(
    precision, intervals.average_precision_interval(*pair), atol=0.02
  )


def test_perfect_separation_is_as_sure_as_its_patients():
  labels, scores, whose = simulate(np.random.default_rng(4), gap=50)
  (low, high), precision = by_patient.intervals_of(labels, scores, whose)
  expected = intervals.auroc_interval(np.zeros(20), np.ones(20))
  assert (low, high) == pytest.approx(expected)
  assert precision is None


@pytest.mark.parametrize("whose", [[0, 0, 1, 2], [0, 1, 2, 2]])
def test_a_class_of_one_patient_has_no_interval(whose):
  labels, scores = np.array([0, 0, 1, 1]), np.arange(4.0)
  assert by_patient.intervals_of(labels, scores, np.array(whose)) == (
    None,
    None,
  )
  assert (
    by_patient.auroc_difference(labels, scores, -scores, np.array(whose))
    is None
  )


def test_the_order_of_images_and_numbers_of_patients_are_of_no_matter():
  rng = np.random.default_rng(5)
  labels, scores, whose = simulate(rng)
  expected = by_patient.intervals_of(labels, scores, whose)
  order = rng.permutation(len(labels))
  found = by_patient.intervals_of(
    labels[order], scores[order], 3 * whose[order] + 7
  )
  np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_patients_with_both_classes_stay_whole():
  rng = np.random.default_rng(6)
  labels, whose = np.tile([0, 1], 50), np.repeat(np.arange(10), 10)
  drawn = by_patient.draw(labels, whose, 30, 0)
  each = drawn.reshape(30, 10, 10)
  assert (each == each[:, :, :1]).all()
  assert (drawn.sum(1) == 100).all()
  assert by_patient.intervals_of(labels, rng.normal(size=100), whose)[0]


def test_equal_scores_do_not_differ_and_others_do():
  labels, scores, whose = simulate(np.random.default_rng(7))
  same = by_patient.auroc_difference(labels, scores, 2 * scores, whose)
  assert same == (0.0, (0.0, 0.0), 1.0)
  noise = np.random.default_rng(8).normal(size=len(labels))
  value, (low, high), p = by_patient.auroc_difference(
    labels, scores, noise, whose
  )
  assert value == pytest.approx(
    metrics.auroc(labels, scores) - metrics.auroc(labels, noise)
  )
  assert low < value < high
  assert p < 0.05


def test_a_ranking_says_how_many_patients_it_rests_on():
  labels, scores, whose = simulate(np.random.default_rng(9))
  found = metrics.rank(labels, scores, whose)
  assert found.n_patients == 40
  alone = metrics.rank(labels, scores)
  assert alone.n_patients is None
  assert found.auroc == alone.auroc
  wide, narrow = (r.auroc_ci[1] - r.auroc_ci[0] for r in (found, alone))
  assert wide > 1.5 * narrow


def test_several_trainings_have_the_interval_of_their_mean():
  labels, scores, whose = simulate(np.random.default_rng(10))
  twice = np.stack([scores, 2 * scores], 1)
  expected = by_patient.intervals_of(labels, scores, whose)
  found = by_patient.intervals_of(labels, twice, whose)
  np.testing.assert_allclose(found, expected)
  noise = np.random.default_rng(11).normal(size=(len(labels), 2))
  others = twice + noise
  value, (low, high), _ = by_patient.auroc_difference(
    labels, twice, others, whose
  )
  own = metrics.auroc(labels, scores)
  each = [metrics.auroc(labels, column) for column in others.T]
  assert value == pytest.approx(own - np.mean(each))
  assert low < value < high


def test_means_by_images_are_those_of_one_training_for_equal_ones():
  labels, scores, whose = simulate(np.random.default_rng(12))
  columns = np.stack([scores] * 3, 1)
  auroc, ap = metrics.mean_intervals(labels, columns)
  alone = metrics.rank(labels, scores)
  np.testing.assert_allclose(auroc, alone.auroc_ci)
  np.testing.assert_allclose(ap, alone.ap_ci, atol=0.02)
  wide, _ = metrics.mean_intervals(labels, columns, whose)
  assert wide[1] - wide[0] > 1.5 * (auroc[1] - auroc[0])
