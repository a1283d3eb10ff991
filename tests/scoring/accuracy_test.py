"""The best accuracy against the official search and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from medad_jax.scoring import accuracy
from tests.golden import cases

COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def test_it_is_the_reference_s():
  expected = cases.load("maddr_eval")
  names = expected["term_names"]
  found = accuracy.summarize(expected["label"], expected["raw"])
  repaired = dict(zip(names, expected["terms/scaled_threshold"], strict=True))
  counts = [getattr(found, f"oracle_{name}s") for name in COUNTS]
  assert counts == [repaired[name] for name in COUNTS]
  assert found.oracle_accuracy == pytest.approx(repaired["accuracy"])
  assert found.oracle_threshold == pytest.approx(repaired["threshold"])
  released = dict(
    zip(names, expected["terms/reference_threshold"], strict=True)
  )
  tp, fp, fn, _ = (released[name] for name in COUNTS)
  counts = [getattr(found, f"oracle_released_{name}s") for name in COUNTS]
  assert counts == [released[name] for name in COUNTS]
  assert found.oracle_released_accuracy == pytest.approx(released["accuracy"])
  assert found.oracle_released_precision == pytest.approx(tp / (tp + fp))
  assert found.oracle_released_recall == pytest.approx(tp / (tp + fn))
  threshold = found.oracle_released_threshold
  assert threshold == pytest.approx(released["threshold"], rel=1e-6)


def test_precision_recall_and_f1_are_scikit_learn_s():
  draw = np.random.RandomState(0)
  labels = draw.randint(0, 2, 60)
  scores = draw.normal(labels, 1.5)
  found = accuracy.summarize(labels, scores)
  scaled = (scores - scores.min()) / np.ptp(scores)
  called = scaled >= found.oracle_threshold
  wanted = metrics.precision_recall_fscore_support(
    labels, called, average="binary"
  )[:3]
  got = found.oracle_precision, found.oracle_recall, found.oracle_f1
  np.testing.assert_allclose(got, wanted)
  assert found.oracle_accuracy == metrics.accuracy_score(labels, called)


@pytest.mark.parametrize(
  ("labels", "scores"), [([0, 0], [0.1, 0.2]), ([0, 1], [0.5, 0.5]), ([], [])]
)
def test_it_is_not_there_without_two_classes_and_two_scores(labels, scores):
  labels, scores = np.array(labels, int), np.array(scores, float)
  assert accuracy.summarize(labels, scores) is None
