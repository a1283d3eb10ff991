import dataclasses

import numpy as np
import pytest

from medad_jax.scoring import metrics

LABELS = np.array([0, 0, 1, 1, 0, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.4, 0.4])


def tied_sets():
  """Small sets with many ties, then a large one without."""
  rng = np.random.default_rng(0)
  for _ in range(200):
    size = rng.integers(2, 40)
    labels = rng.integers(0, 2, size)
    labels[:2] = 0, 1
    yield labels, rng.integers(0, rng.integers(1, 12), size) / 7.0
  yield rng.integers(0, 2, 5000), rng.normal(size=5000)


def test_known_answer():
  assert metrics.auroc(LABELS, SCORES) == pytest.approx(2 / 3, abs=1e-12)
  assert metrics.average_precision(LABELS, SCORES) == pytest.approx(0.7)


def counts(labels, scores):
  """True and false positives at each distinct threshold, from infinity down."""
  thresholds = [np.inf, *sorted(set(scores.tolist()), reverse=True)]
  reached = scores[None] >= np.array(thresholds)[:, None]
  hits = (reached & (labels == 1)).sum(1)
  return hits, reached.sum(1) - hits, thresholds


def test_areas_equal_their_definitions():
  for labels, scores in tied_sets():
    gap = scores[labels == 1][:, None] - scores[labels == 0]
    wins = np.mean((gap > 0) + 0.5 * (gap == 0))
    assert metrics.auroc(labels, scores) == pytest.approx(wins, abs=1e-12)
    if len(scores) > 100:  # counting at every threshold takes a matrix
      continue
    hits, alarms, _ = counts(labels, scores)
    precision = hits[1:] / (hits + alarms)[1:]
    wanted = np.sum(np.diff(hits / hits[-1]) * precision)
    found = metrics.average_precision(labels, scores)
    assert found == pytest.approx(wanted, abs=1e-12)


def test_curves_equal_their_definitions():
  *small, _ = tied_sets()
  for labels, scores in small:
    hits, alarms, thresholds = counts(labels, scores)
    found = metrics.roc_curve(labels, scores)
    np.testing.assert_allclose(found[0], alarms / alarms[-1], atol=1e-12)
    np.testing.assert_allclose(found[1], hits / hits[-1], atol=1e-12)
    np.testing.assert_array_equal(found[2], thresholds)
    found = metrics.precision_recall_curve(labels, scores)
    precision = [1, *(hits[1:] / (hits + alarms)[1:])]
    np.testing.assert_allclose(found[0], precision, atol=1e-12)
    np.testing.assert_allclose(found[1], hits / hits[-1], atol=1e-12)
    np.testing.assert_array_equal(found[2], thresholds)


def test_ranks_of_nearby_floats_are_exact():
  scores = np.array([1.0, np.nextafter(1.0, 2.0)])
  assert metrics.auroc(np.array([0, 1]), scores) == 1.0
  assert metrics.auroc(np.array([0, 1]), scores.astype(np.float32)) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_missing_class_is_undefined(label):
  labels = np.full(4, label)
  found = metrics.rank(labels, np.arange(4.0))
  counts = 4 * (label == 0), 4 * (label == 1)
  assert found == metrics.Ranking(*[None] * 8, *counts)
  assert metrics.roc_curve(labels, np.arange(4.0)) is None
  assert metrics.precision_recall_curve(labels, np.arange(4.0)) is None


def test_empty_set_is_undefined():
  found = metrics.rank(np.zeros(0, int), np.zeros(0))
  assert found.auroc is None
  assert found.n_normal == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_scores_are_refused(bad):
  scores = np.array([0.0, bad, 1.0, bad])
  with pytest.raises(ValueError, match=r"2 of 4 scores .* position 1"):
    metrics.auroc(np.array([0, 0, 1, 1]), scores)


def test_other_labels_are_refused():
  with pytest.raises(ValueError, match=r"\[-1, 2\]"):
    metrics.auroc(np.array([0, 1, -1, 2]), np.arange(4.0))


def test_ranking_is_plain_and_consistent():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 50)
  scores = (rng.normal(size=100) + labels).astype(np.float32)
  found = metrics.rank(labels, scores)
  kinds = {type(v) for v in dataclasses.astuple(found)}
  assert kinds == {float, int, tuple, type(None)}
  assert found.auroc_ci[0] < found.auroc < found.auroc_ci[1]
  assert found.ap_ci[0] < found.ap < found.ap_ci[1]
  order = rng.permutation(100)
  shuffled = metrics.rank(labels[order], 3 * scores[order] - 1)
  for name in ("auroc", "ap", "auroc_ci"):
    assert getattr(shuffled, name) == pytest.approx(
      getattr(found, name), abs=1e-12
    )


def test_compare_is_antisymmetric():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 100)
  a, b = rng.normal(size=(2, 200)) + labels * [[2.0], [1.0]]
  forth, back = metrics.compare(labels, a, b), metrics.compare(labels, b, a)
  assert forth.value == pytest.approx(
    metrics.auroc(labels, a) - metrics.auroc(labels, b)
  )
  assert forth.value == -back.value
  assert forth.interval == (-back.interval[1], -back.interval[0])
  assert forth.p == back.p < 0.01


def test_compare_without_a_class_is_undefined():
  labels = np.zeros(3, int)
  assert metrics.compare(labels, np.arange(3.0), np.arange(3.0)) is None


def test_chi_squared_known_answer():
  grid = np.arange(100) / 99
  normal, abnormal = 0.3 * grid**2, 0.2 + 0.5 * np.sqrt(grid)
  chi2 = metrics.chi_squared(normal, abnormal)
  assert chi2 == pytest.approx(108.666667, abs=1e-6)
  corrected = metrics.chi_squared_corrected(normal, abnormal)
  assert corrected == pytest.approx(93.666667, abs=1e-6)


def test_chi_squared_bounds():
  low, high = np.full(10, 0.005), np.full(7, 0.995)
  assert metrics.chi_squared_corrected(low, low) == 0
  assert metrics.chi_squared_corrected(low, high) == pytest.approx(100)
  assert metrics.chi_squared(low, high) == pytest.approx(100 + 98 / 2)


def test_chi_squared_refuses_raw_scores():
  with pytest.raises(ValueError, match="min_max"):
    metrics.chi_squared(np.array([0.0, 1.5]), np.array([0.5]))


def test_min_max():
  scores = np.array([3.0, -1.0, 1.0])
  np.testing.assert_array_equal(metrics.min_max(scores), [1.0, 0.0, 0.5])
  np.testing.assert_array_equal(metrics.min_max(np.full(3, 7.0)), np.zeros(3))
  wide = metrics.min_max(np.array([-1.7e308, 0.0, 1.7e308]))
  np.testing.assert_array_equal(wide, [0.0, 0.5, 1.0])
