import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

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


def test_areas_equal_scikit_learn():
  for labels, scores in tied_sets():
    assert metrics.auroc(labels, scores) == pytest.approx(
      sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12
    )
    assert metrics.average_precision(labels, scores) == pytest.approx(
      sklearn_metrics.average_precision_score(labels, scores), abs=1e-12
    )


def test_curves_equal_scikit_learn():
  for labels, scores in tied_sets():
    wanted = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    for ours, theirs in zip(
      metrics.roc_curve(labels, scores), wanted, strict=True
    ):
      np.testing.assert_allclose(ours, theirs, atol=1e-12)
    precision, recall, thresholds = metrics.precision_recall_curve(
      labels, scores
    )
    theirs = sklearn_metrics.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(precision[::-1], theirs[0], atol=1e-12)
    np.testing.assert_allclose(recall[::-1], theirs[1], atol=1e-12)
    np.testing.assert_array_equal(thresholds[:0:-1], theirs[2])


def test_ranks_of_nearby_floats_are_exact():
  scores = np.array([1.0, np.nextafter(1.0, 2.0)])
  assert metrics.auroc(np.array([0, 1]), scores) == 1.0
  assert metrics.auroc(np.array([0, 1]), scores.astype(np.float32)) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_missing_class_is_undefined(label):
  labels = np.full(4, label)
  found = metrics.summarize(labels, np.arange(4.0))
  counts = {"n_normal": 4 * (label == 0), "n_abnormal": 4 * (label == 1)}
  assert {k: found.pop(k) for k in counts} == counts
  assert found.keys() == {
    "auroc",
    "auroc_ci",
    "ap",
    "ap_ci",
    "chi2",
    "chi2_corrected",
  }
  assert set(found.values()) == {None}
  assert metrics.roc_curve(labels, np.arange(4.0)) is None
  assert metrics.precision_recall_curve(labels, np.arange(4.0)) is None


def test_empty_set_is_undefined():
  found = metrics.summarize(np.zeros(0, int), np.zeros(0))
  assert found["auroc"] is None
  assert found["n_normal"] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_scores_are_refused(bad):
  scores = np.array([0.0, bad, 1.0, bad])
  with pytest.raises(ValueError, match=r"2 of 4 scores .* position 1"):
    metrics.auroc(np.array([0, 0, 1, 1]), scores)


def test_other_labels_are_refused():
  with pytest.raises(ValueError, match=r"\[-1, 2\]"):
    metrics.auroc(np.array([0, 1, -1, 2]), np.arange(4.0))


def test_summary_is_plain_and_consistent():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 50)
  scores = (rng.normal(size=100) + labels).astype(np.float32)
  found = metrics.summarize(labels, scores)
  assert {type(v) for v in found.values()} == {float, int, list}
  assert found["auroc_ci"][0] < found["auroc"] < found["auroc_ci"][1]
  assert found["ap_ci"][0] < found["ap"] < found["ap_ci"][1]
  order = rng.permutation(100)
  shuffled = metrics.summarize(labels[order], 3 * scores[order] - 1)
  for name in ("auroc", "ap", "auroc_ci"):
    assert shuffled[name] == pytest.approx(found[name], abs=1e-12)


def test_compare_is_antisymmetric():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 100)
  a, b = rng.normal(size=(2, 200)) + labels * [[2.0], [1.0]]
  forth, back = metrics.compare(labels, a, b), metrics.compare(labels, b, a)
  assert forth["auroc_difference"] == pytest.approx(
    metrics.auroc(labels, a) - metrics.auroc(labels, b)
  )
  assert forth["auroc_difference"] == -back["auroc_difference"]
  assert forth["ci"] == [-back["ci"][1], -back["ci"][0]]
  assert forth["p"] == back["p"] < 0.01


def test_compare_without_a_class_is_undefined():
  found = metrics.compare(np.zeros(3, int), np.arange(3.0), np.arange(3.0))
  assert set(found.values()) == {None}


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
