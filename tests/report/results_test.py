"""Results are what their file holds, and its shape is known to others."""

import dataclasses
import json

import numpy as np
import pytest

from medad_jax.report.results import Results, Score, TestSet
from medad_jax.scoring import over_seeds, pixel_metrics
from medad_jax.types import UserError
from tests.report import page_test


def make():
  """Two scores, one with maps, of the main set; several seeds of another."""
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1], 10)
  scores = {k: rng.normal(size=20) + labels for k in ("rec", "r_dual")}
  found = page_test.make_results(scores, labels)
  pixels = pixel_metrics.Pixels(0.9, 0.5, 0.4, 0.1, None, 100, 7)
  first = dataclasses.replace(found.main.scores["rec"], pixels=pixels)
  main = dataclasses.replace(
    found.main, scores=dict(found.main.scores) | {"rec": first}
  )
  ranking, spread = over_seeds.over_seeds([first.ranking] * 2)
  outside = TestSet({"rec": Score(ranking, None, spread)})
  return dataclasses.replace(found, main=main, sets={"outside": outside})


def test_a_file_gives_the_results_back(tmp_path):
  results = make()
  results.save(tmp_path / "results.json")
  assert Results.load(tmp_path / "results.json") == results


def test_the_files_shape_is_kept():
  """What reads results.json elsewhere finds its numbers where they were."""
  tree = json.loads(json.dumps(make().to_json()))
  assert (
    tree["scores"]["rec"]["auroc"] == make().main.scores["rec"].ranking.auroc
  )
  assert len(tree["scores"]["rec"]["auroc_ci"]) == 2
  assert tree["scores"]["rec"]["pixel_auroc"] == 0.9
  assert "n_pixels" not in tree["scores"]["r_dual"]
  assert tree["comparisons"][0].keys() == {
    *("a", "b", "auroc_difference", "ci", "p")
  }
  outside = tree["sets"]["outside"]["scores"]["rec"]
  assert outside["over_seeds"]["auroc"].keys() == {"mean", "std", "per_seed"}
  assert outside["auroc_ci"] is None


def test_results_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    make().seed = 4


@pytest.mark.parametrize(
  "damage",
  [
    lambda text: "",
    lambda text: text[: len(text) // 2],
    lambda text: "[]",
    lambda text: "3",
    lambda text: text.replace('"auroc"', '"area"'),
    lambda text: text.replace('"comparisons"', '"compared"'),
    lambda text: text.replace('"scores": {', '"scores": [], "more": {'),
    lambda text: text.replace('"seed"', '"unknown"'),
    lambda text: "[" * 100_000,
  ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
  path = tmp_path / "results.json"
  make().save(path)
  path.write_text(damage(path.read_text()))
  with pytest.raises(UserError, match="results.json .* make it again"):
    Results.load(path)


def test_an_absent_file_is_one_sentence(tmp_path):
  with pytest.raises(UserError, match="medad_jax.evaluate"):
    Results.load(tmp_path / "results.json")
