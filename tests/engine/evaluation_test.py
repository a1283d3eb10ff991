"""What an evaluation leaves behind, and what it does not depend on."""

import csv
import json

import jax
import numpy as np
import pytest
from sklearn import metrics as sk

from medad_jax.data import spec
from medad_jax.engine import evaluation, members, scorer
from medad_jax.types import UserError
from tests import tiny

CONFIG = {
  "method": "ddad",
  "seed": 0,
  "seeds": 1,
  "parallel": "jit",
  "evaluation": {"batch_size": 8},
}


@pytest.fixture(scope="module")
def method():
  return tiny.method()


@pytest.fixture(scope="module")
def states(method):
  return {
    phase.name: members.init_states(phase, (0,), tiny.SHAPE)
    for phase in method.phases()
  }


def dataset(labels, masks=True) -> spec.Dataset:
  labels = np.asarray(labels, np.int32)
  count = len(labels)
  images = tiny.images(count, seed=2)
  shapes = np.zeros(images.shape[:3], bool)
  shapes[labels == 1, 4:8, 4:8] = True
  names = tuple(f"scan_{i}.png" for i in range(count))
  split = spec.Split(images, labels, names, shapes if masks else None)
  return spec.Dataset("tiny", {"test": split}, "f" * 64, {"test": count})


@pytest.mark.parametrize("batch_size", [1, 5, 8, 64])
def test_scores_are_the_same_at_every_batch_size(method, states, batch_size):
  images = tiny.images(11, seed=2)
  expected = scorer.Scorer(method, states, 16).images(images)
  found = scorer.Scorer(method, states, batch_size).images(images)
  for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-7)


def test_modes_give_the_same_scores(method, states):
  images = tiny.images(11, seed=2)
  expected = scorer.Scorer(method, states, 8).images(images)
  found = scorer.Scorer(method, states, 8, mode="pmap").images(images)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7),
    found,
    expected,
  )


def test_the_files_of_an_evaluation(method, states, tmp_path):
  data = dataset([0, 1] * 6)
  evaluation.evaluate(method, states, data, CONFIG, tmp_path)
  with (tmp_path / "scores.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["name"] for row in rows] == list(data.splits["test"].names)
  assert tuple(rows[0])[3:] == method.score_names
  results = json.loads((tmp_path / "results.json").read_text())
  labels = [int(row["label"]) for row in rows]
  for name, found in results["scores"].items():
    values = [float(row[name]) for row in rows]
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(labels, values))
    assert found["ap"] == pytest.approx(
      sk.average_precision_score(labels, values)
    )
    assert found["n_normal"] == found["n_abnormal"] == 6
  assert results["data"] == {"fingerprint": "f" * 64, "counts": {"test": 12}}
  assert results["members"] == 4
  assert [c["a"] for c in results["comparisons"]] == ["r_dual"] * 5
  page = (tmp_path / "report.html").read_text()
  assert "r_dual" in page and "<img" in page
  figures = {path.name for path in (tmp_path / "figures").iterdir()}
  assert {"gallery.png", "roc.png", "precision_recall.png"} <= figures
  assert {f"histogram_{name}.png" for name in method.score_names} <= figures


def test_maps_are_measured_where_there_are_masks(method, states, tmp_path):
  data = dataset([0, 1] * 6)
  test = data.splits["test"]
  results = evaluation.evaluate(method, states, data, CONFIG, tmp_path)
  ready = scorer.Scorer(method, states, 64)
  map_ = ready.first_seed(test.images).maps["inter"]
  expected = sk.roc_auc_score(test.masks.ravel(), map_.ravel())
  found = results["scores"]["inter"]["pixel_auroc"]
  assert found == pytest.approx(expected, abs=1e-6)
  assert "n_pixels" not in results["scores"]["rec_0"]  # it has no map
  assert not list(tmp_path.glob("maps-*"))
  plain = dataset([0, 1] * 6, masks=False)
  results = evaluation.evaluate(method, states, plain, CONFIG, tmp_path)
  assert "n_pixels" not in results["scores"]["inter"]


def test_seeds_are_scored_one_by_one(method, tmp_path):
  data, config = dataset([0, 1] * 6), CONFIG | {"seed": 3, "seeds": 2}
  both = {
    phase.name: members.init_states(phase, (3, 4), tiny.SHAPE)
    for phase in method.phases()
  }
  results = evaluation.evaluate(method, both, data, config, tmp_path)
  with (tmp_path / "scores.csv").open() as file:
    rows = list(csv.DictReader(file))
  for place, seed in enumerate((3, 4)):
    alone = {
      phase.name: members.init_states(phase, (seed,), tiny.SHAPE)
      for phase in method.phases()
    }
    ready = scorer.Scorer(method, alone, 8)
    for name, values in ready.images(data.splits["test"].images).items():
      found = [float(row[f"{name}@{seed}"]) for row in rows]
      np.testing.assert_allclose(found, values[:, 0], rtol=1e-4, atol=1e-6)
      auroc = results["scores"][name]["over_seeds"]["auroc"]
      labels = data.splits["test"].labels
      expected = sk.roc_auc_score(labels, found)
      assert auroc["per_seed"][place] == pytest.approx(expected)
  assert auroc["mean"] == pytest.approx(np.mean(auroc["per_seed"]))
  assert auroc["std"] == pytest.approx(np.std(auroc["per_seed"], ddof=1))
  assert results["scores"][name]["auroc"] == auroc["mean"]
  assert results["comparisons"] == []


def test_one_class_alone_is_undefined_and_no_crash(method, states, tmp_path):
  data = dataset([0] * 4, masks=False)
  results = evaluation.evaluate(method, states, data, CONFIG, tmp_path)
  assert results["scores"]["rec"]["auroc"] is None
  assert results["scores"]["rec"]["n_abnormal"] == 0
  assert (tmp_path / "report.html").exists()


def test_scores_that_are_not_finite_are_named(method, states, tmp_path):
  broken = dict(states)
  broken["refine_dual"] = jax.tree.map(
    lambda x: x * np.nan if x.dtype == np.float32 else x,
    states["refine_dual"],
  )
  with pytest.raises(UserError, match=r"r_dual \(4 images\); the net has"):
    evaluation.evaluate(method, broken, dataset([0, 1] * 2), CONFIG, tmp_path)


def test_the_gallery_spans_the_scores_of_each_class():
  labels = np.array([0, 0, 1, 1, 1, 1, 1])
  scores = np.array([0.2, 0.1, 9.0, 3.0, 1.0, 5.0, 7.0])
  rows = evaluation._gallery_rows(labels, scores)
  assert [scores[r] for r in rows] == [0.1, 0.2, 1.0, 3.0, 7.0, 9.0]
