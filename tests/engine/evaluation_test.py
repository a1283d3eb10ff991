"""Files of an evaluation, and what they do not depend on."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest
from sklearn import metrics as sk

from medad_jax.data import spec
from medad_jax.engine import batched, evaluation, scorer
from medad_jax.engine.workdir import Workdir
from medad_jax.methods import cutpaste_2s
from medad_jax.report import draw
from medad_jax.types import TrainState, UserError
from tests import tiny
from tests.engine.evaluated import (
  dataset,
  evaluate,
  initial,
  make_config,
  make_model,
)


@pytest.fixture(scope="module")
def method():
  return tiny.method()


@pytest.fixture(scope="module")
def states(method):
  return initial(method)


def audited(data):
  """A set whose audit has found twins of two test images."""
  test = data.splits["test"]
  texts = ["train unused", "", "unused", *[""] * (len(test) - 3)]
  columns = {"twin": tuple(texts)}
  test = dataclasses.replace(test, columns=columns)
  found = {"sentences": ["1 image is a twin"], "counts": {}, "published": {}}
  return dataclasses.replace(
    data, splits={"test": test}, audits={"tiny": found}
  )


@pytest.mark.parametrize("batch_size", [1, 5, 8, 64])
def test_scores_are_the_same_at_every_batch_size(method, states, batch_size):
  images = tiny.images(11, seed=2)
  expected = scorer.Scorer(method, states, 16, tiny.devices()).images(images)
  found = scorer.Scorer(method, states, batch_size, tiny.devices()).images(
    images
  )
  for name, values in expected.items():
    np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-7)


def test_modes_give_the_same_scores(method, states):
  images = tiny.images(11, seed=2)
  expected = scorer.Scorer(method, states, 8, tiny.devices()).images(images)
  found = scorer.Scorer(method, states, 8, tiny.devices(mode="pmap")).images(
    images
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7),
    found,
    expected,
  )


def test_the_files_of_an_evaluation(method, states, tmp_path):
  data = audited(dataset([0, 1] * 6))
  evaluate(method, states, data, tmp_path, drawn=True)
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
  assert results["data"] == {
    "fingerprint": "f" * 64,
    "counts": {"test": 12},
    "audit": data.audits,
  }
  # The image that was trained on is left out, that of an unused split is not.
  assert list(results["sets"]) == ["without_twins"]
  apart = results["sets"]["without_twins"]["scores"]["r_dual"]
  assert (apart["n_normal"], apart["n_abnormal"]) == (5, 6)
  assert results["members"] == 4
  assert [c["a"] for c in results["comparisons"]] == ["r_dual"] * 5
  page = (tmp_path / "report.html").read_text()
  assert "r_dual" in page and "<img" in page
  assert "Audit of tiny: 1 image is a twin." in page
  figures = {path.name for path in (tmp_path / "figures").iterdir()}
  assert {"gallery.png", "roc.png", "precision_recall.png"} <= figures
  assert {f"histogram_{name}.png" for name in method.score_names} <= figures


def test_maps_are_measured_where_there_are_masks(method, states, tmp_path):
  data = dataset([0, 1] * 6)
  test = data.splits["test"]
  results = evaluate(method, states, data, tmp_path)
  model = make_model(method, states)
  maps = model.score(test.images).scores.maps["inter"][:, 0]
  expected = sk.roc_auc_score(test.masks.ravel(), maps.ravel())
  found = results.main.scores["inter"].pixels.pixel_auroc
  assert found == pytest.approx(expected, abs=1e-12)
  assert results.main.scores["rec_0"].pixels is None  # it has no map
  plain = dataset([0, 1] * 6, masks=False)
  results = evaluate(method, states, plain, tmp_path)
  assert results.main.scores["inter"].pixels is None


def test_seeds_are_scored_one_by_one(method, tmp_path):
  data, config = dataset([0, 1] * 6), make_config(seed=3, seeds=2)
  both = initial(method, (3, 4))
  results = evaluate(method, both, data, tmp_path, config)
  with (tmp_path / "scores.csv").open() as file:
    rows = list(csv.DictReader(file))
  for place, seed in enumerate((3, 4)):
    alone = initial(method, (seed,))
    ready = scorer.Scorer(method, alone, 8, tiny.devices())
    for name, values in ready.images(data.splits["test"].images).items():
      found = [float(row[f"{name}@{seed}"]) for row in rows]
      np.testing.assert_allclose(found, values[:, 0], rtol=1e-4, atol=1e-6)
      auroc = results.main.scores[name].over_seeds["auroc"]
      labels = data.splits["test"].labels
      expected = sk.roc_auc_score(labels, found)
      assert auroc.per_seed[place] == pytest.approx(expected)
  assert auroc.mean == pytest.approx(np.mean(auroc.per_seed))
  assert auroc.std == pytest.approx(np.std(auroc.per_seed, ddof=1))
  assert results.main.scores[name].ranking.auroc == auroc.mean
  assert results.main.comparisons == ()
  pixels = results.main.scores["rec"].over_seeds["pixel_auroc"]
  assert len(set(pixels.per_seed)) == 2


def test_one_class_alone_is_undefined_and_no_crash(method, states, tmp_path):
  data = dataset([0] * 4, masks=False)
  results = evaluate(method, states, data, tmp_path, drawn=True)
  assert results.main.scores["rec"].ranking.auroc is None
  assert results.main.scores["rec"].ranking.n_abnormal == 0
  assert (tmp_path / "report.html").exists()


def test_the_gallery_spans_the_scores_of_each_class():
  labels = np.array([0, 0, 1, 1, 1, 1, 1])
  scores = np.array([0.2, 0.1, 9.0, 3.0, 1.0, 5.0, 7.0])
  rows = draw.gallery_rows(labels, scores)
  assert [scores[r] for r in rows] == [0.1, 0.2, 1.0, 3.0, 7.0, 9.0]


def test_the_worst_are_high_normal_and_low_abnormal_images():
  labels = np.array([0, 0, 0, 0, 0, 1, 1])
  scores = np.array([5.0, 1.0, 4.0, 3.0, 2.0, 2.5, 9.0])
  assert draw.worst_rows(labels, scores) == [0, 2, 3, 4, 5, 6]


def counted(monkeypatch):
  """Images that are scored, as they are."""
  seen = []
  parts = batched.Batched.parts

  def count(self, placed, images, beside=None):
    seen.append(len(images))
    return parts(self, placed, images, beside)

  monkeypatch.setattr(batched.Batched, "parts", count)
  return seen


@pytest.mark.parametrize("masks", [True, False])
def test_an_image_is_scored_once(method, states, tmp_path, monkeypatch, masks):
  seen = counted(monkeypatch)
  evaluate(method, states, dataset([0, 1] * 6, masks), tmp_path)
  assert seen == [12]


def test_the_gallery_shows_what_was_scored(method, states, tmp_path):
  data = dataset([0, 1] * 6, masks=False)
  model = make_model(method, states)
  _, shown = evaluation.evaluate(model, data, Workdir(tmp_path), tmp_path)
  found = model.score(data.splits["test"].images)
  worst = draw.worst_rows(shown.labels, shown.scores["r_dual"])
  assert [row.caption.splitlines()[0] for row in shown.worst] == [
    data.splits["test"].names[row] for row in worst
  ]
  rows = draw.gallery_rows(shown.labels, shown.scores["r_dual"])
  for row, place in zip(shown.gallery, rows, strict=True):
    np.testing.assert_array_equal(
      row.reconstruction, found.scores.reconstruction[place, 0]
    )
    assert list(row.maps) == ["rec", "intra", "inter", "r_dual"]
    for name, values in row.maps.items():
      np.testing.assert_array_equal(values, found.scores.maps[name][place, 0])


@pytest.mark.parametrize("seeds", [1, 2])
def test_arrays_are_saved_beside_the_scores(method, tmp_path, seeds):
  data, config = dataset([0, 1] * 6), make_config(seeds=seeds)
  states = initial(method, range(seeds))
  evaluate(method, states, data, tmp_path, config, save=evaluation.SAVED)
  model = make_model(method, states, config)
  found = model.score(data.splits["test"].images)
  wanted = {f"maps_{k}": v for k, v in found.scores.maps.items()}
  wanted |= {
    "reconstructions": found.scores.reconstruction,
    "latents": found.latents,
  }
  assert {p.stem for p in tmp_path.glob("*.npy")} == set(wanted)
  assert wanted["latents"].shape == (12, seeds, 4, 3)  # K + K codes
  for name, values in wanted.items():
    saved = np.load(tmp_path / f"{name}.npy")
    np.testing.assert_array_equal(saved, values if seeds > 1 else values[:, 0])


def test_latents_are_drawn_with_those_of_synthetic_images(tmp_path):
  found = cutpaste_2s.Method(width=4)
  shape = (32, 32, 3)
  states = initial(found, shape=shape)
  features = np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32)
  fitted = found.fit("train").estimate([features])
  states["density"] = TrainState(
    np.ones(1, np.int32),
    {k: v[None] for k, v in fitted.items()},
    {},
    {},
    jax.random.split(jax.random.key(0), 1),
  )
  images = tiny.images(12, seed=2, shape=shape)
  names = tuple(f"{i}" for i in range(12))
  split = spec.Split(images, np.repeat([0, 1], [7, 5]), names)
  data = spec.Dataset("tiny", {"test": split}, "f" * 64, {"test": 12})
  config = make_config(32, channels=3)
  model = make_model(found, states, config)
  results, shown = evaluation.evaluate(model, data, Workdir(tmp_path), tmp_path)
  counts = {kind: values.shape for kind, values in shown.latents.items()}
  assert counts == {
    "normal": (7, 32),
    "abnormal": (5, 32),
    "synthetic": (7, 32),
  }
  gap = shown.latents["synthetic"] - shown.latents["normal"]
  assert np.abs(gap).max() > 1e-3  # the anomalies are in them
  draw.draw(tmp_path, results, shown, tmp_path / "metrics.jsonl")
  assert (tmp_path / "figures" / "latents.png").exists()
  with pytest.raises(UserError, match="--save=maps .* it makes latents"):
    evaluation.evaluate(model, data, Workdir(tmp_path), tmp_path, ("maps",))


def test_further_sets_stand_beside_the_main_one(method, states, tmp_path):
  data = dataset([0, 1] * 6)
  part = spec.Split(
    data.splits["test"].images[:6],
    data.splits["test"].labels[:6],
    data.splits["test"].names[:6],
  )
  alone = evaluate(method, states, data, tmp_path)
  both = dataclasses.replace(data, splits=data.splits | {"test_outside": part})
  results = evaluate(method, states, both, tmp_path, save=("latents",))
  assert results.main == alone.main
  found = results.sets["outside"].scores["rec"]
  assert found.ranking.n_normal == 3 and found.pixels is None
  tree = json.loads((tmp_path / "results.json").read_text())
  assert tree["sets"]["outside"]["scores"]["rec"]["auroc"] is not None
  lines = [
    (tmp_path / name).read_text().splitlines()
    for name in ("scores.csv", "scores_outside.csv")
  ]
  assert lines[0][:7] == lines[1]
  assert np.load(tmp_path / "latents_outside.npy").shape == (6, 4, 3)
