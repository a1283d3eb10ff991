"""A whole run's threshold, p-values and operating points."""

import csv
import json

import numpy as np
import pytest

from medad_jax.engine import alarms, calibration, experiment
from medad_jax.engine.settings import Evaluation
from medad_jax.report import results, table
from medad_jax.scoring import conformal
from tests.engine import experiment_test


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp("alarms")
  fields = {
    "validation.share": 0.25,
    "evaluation.false_alarms": 0.2,
    "evaluation.prevalence": 0.1,
  }
  experiment_test.run("ae", folder, **fields)
  return folder / "run"


def rows(path):
  with path.open(newline="") as file:
    return list(csv.DictReader(file))


def test_scores_have_p_values_and_flags(finished):
  held = calibration.load(finished).scores["rec"][:, 0]
  limit = conformal.threshold(held, 0.2)
  for row in rows(finished / "scores.csv"):
    score = float(row["rec"])
    (p,) = conformal.p_values(np.array([score]), held)
    assert float(row["p_value"]) == pytest.approx(p, rel=1e-5)
    assert row["flag"] == str(int(score > limit))
    assert (row["flag"] == "1") == (p <= 0.2)


def test_results_hold_the_operating_points(finished):
  found = results.Results.load(finished / "results.json").operating
  held = calibration.load(finished).scores["rec"][:, 0]
  assert found["threshold"] == conformal.threshold(held, 0.2)
  assert (found["n_held_out"], found["refused"]) == (6, "")
  assert found["n_held_out_patients"] is None
  scored = rows(finished / "scores.csv")
  for name, label in (("sensitivity", "1"), ("specificity", "0")):
    own = [row["flag"] == label for row in scored if row["label"] == label]
    assert found[name]["value"] == np.mean(own)
    low, high = found[name]["ci"]
    assert low <= found[name]["value"] <= high
  assert set(found["sensitivity_at_specificity"]) == {"0.9", "0.95", "0.99"}
  assert found["prevalence"] == 0.1 and {"ppv", "npv", "drift_p"} <= set(found)
  said = "\n".join(table.alarm_sentences(found))
  assert "from 6 held-out normal images and allows at most 20.0% false" in said
  assert "ppv " in said


def test_a_second_evaluation_says_the_same(finished, tmp_path):
  experiment.evaluate_run(
    finished, str(finished.parent), out=tmp_path / "again"
  )
  for name in ("scores.csv", "results.json"):
    first, again = (x / name for x in (finished, tmp_path / "again"))
    if name == "scores.csv":
      assert first.read_text() == again.read_text()
    else:
      a, b = (json.loads(x.read_text())["operating"] for x in (first, again))
      assert a == b


def test_too_few_images_refuse_the_threshold_and_keep_the_p_values(finished):
  (few,) = alarms.of_run(finished, "rec", Evaluation(false_alarms=0.05))
  assert few.threshold is None
  assert "need 19 held-out normal images, and there are 6" in few.refused
  scores = np.array([-1.0, 1e9])
  np.testing.assert_allclose(few.p_values(scores), [1, 1 / 7])
  assert few.flags(scores) == ["", ""]
  labels = np.array([0, 1])
  found = alarms.describe(few, labels, scores, {}, 0.1)
  (said,) = table.alarm_sentences(found)
  assert said.startswith("No threshold: at most 5 % false alarms need 19")
  assert "ppv" not in found


def test_without_held_out_images_there_are_no_alarms(tmp_path):
  assert alarms.of_run(tmp_path, "rec", Evaluation()) == ()
  labels, scores = np.array([0, 0, 1]), np.array([1.0, 2.0, 3.0])
  found = alarms.describe(None, labels, scores, {}, None)
  assert set(found) == {"sensitivity_at_specificity"}
  assert table.alarm_sentences(found) == []


def test_groups_of_a_column_are_apart_and_patients_are_not_shown():
  alarm = alarms.Alarms("rec", np.arange(9.0), None, Evaluation(), 5.0, "")
  labels, scores = np.array([0, 1, 0, 1]), np.array([1.0, 9.0, 8.0, 2.0])
  texts = {"sex": list("ffmm"), "patient": list("abcd"), "site": ["x"] * 4}
  found = alarms.describe(alarm, labels, scores, texts, None)["groups"]
  assert set(found) == {"sex"}
  assert found["sex"]["f"]["sensitivity"]["value"] == 1
  assert found["sex"]["m"]["specificity"]["value"] == 0
