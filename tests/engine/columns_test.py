"""Columns of two joined sets, from their caches to a loss and to results."""

import csv
import json
import sys

import numpy as np
import pytest

from medad_jax import methods
from medad_jax.data import cache, columns
from medad_jax.engine import config as configuration
from medad_jax.engine import experiment
from medad_jax.types import UserError
from tests import tiny

# Every step takes the share of its images from a cell of the table.
TOY = '''
"""A table of organs and modalities."""

import dataclasses

import jax.numpy as jnp

from medad_jax import steps, types
from medad_jax.training import Length, Optimizer


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of the table."""

  length: Length = Length(epochs=2, batch_size=8)
  optimizer: Optimizer = Optimizer("sgd", 1.0, momentum=0.0)

  score_names = ("count",)

  def phases(self):
    return (
      types.Phase(
        "train",
        self.length,
        (types.NORMAL,) * 2,
        self.init,
        steps.Descend(self.loss, self.optimizer),
        inputs=types.Inputs(columns=("organ", "modality")),
      ),
    )

  def init(self, key, image_shape):
    return {"table": jnp.zeros((3, 3))}, {}

  def loss(self, params, extra, batch, context):
    cells = params["table"][batch["organ"], batch["modality"]]
    return jnp.mean(cells), (extra, {})

  def predict(self, states, batch):
    table = states["train"].params["table"]
    known = batch["organ"] >= 0
    return {"x": jnp.where(known, table[batch["organ"], batch["modality"]], 9)}

  def score(self, preds, batch, fitted):
    return types.Scores({"count": -jnp.mean(preds["x"], 0)}, {})
'''

COUNTS = {"train": 16, "test": 8}


def write_set(root, name, seed, counts=COUNTS, **columns):
  place = cache.Cache(root / "cache" / name / "16x1")
  facts = {
    "counts": counts,
    "fingerprints": {split: f"{name}/{split}" for split in counts},
  }
  for split, count in counts.items():
    stored = {
      "images": tiny.images(count, seed),
      "labels": np.arange(count) % 2 * (split != "train"),
      "masks": None,
      "names": tuple(f"{n}.png" for n in range(count)),
      "columns": {k: tuple(v(count)) for k, v in columns.items()},
    }
    place.store(split, facts, stored)


def whole(text):
  return lambda count: (text,) * count


@pytest.fixture
def sets(undrawn, tmp_path, monkeypatch):
  """The folder of two sets; a toy method reads their columns."""
  (tmp_path / "organs.py").write_text(TOY)
  monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
  write_set(
    tmp_path, "heads", 0, organ=whole("brain"), modality=whole("MR"),
    patient=lambda count: [f"p{n // 2}" for n in range(count)],
  )  # fmt: skip
  write_set(
    tmp_path, "chests", 1, {"train": 8, "test": 6, "test_far": 4},
    organ=whole("chest"), modality=whole("X-ray"),
  )  # fmt: skip
  yield tmp_path
  sys.modules.pop("medad_jax.methods.organs", None)


def run(folder, name="heads,chests", **fields):
  settings = {
    "data.name": name,
    "data.dir": str(folder),
    "data.image_size": 16,
    "evaluation.batch_size": 8,
  }
  config = configuration.with_hyper(
    configuration.defaults("organs"), settings | fields
  )
  experiment.train_and_evaluate(config, folder / "run")
  return read(folder / "run")


def read(folder):
  with (folder / "scores.csv").open() as file:
    rows = list(csv.DictReader(file))
  return json.loads((folder / "results.json").read_text()), rows


@pytest.mark.parametrize(
  "fields",
  [
    {"data.feed": "resident"},
    pytest.param({"data.feed": "grain"}, marks=pytest.mark.slow),
    pytest.param(
      {"data.feed": "resident", "parallel": "pmap"}, marks=pytest.mark.slow
    ),
    {"data.feed": "grain", "mesh.member": 2, "mesh.batch": 2},
  ],
  ids=str,
)
def test_columns_reach_the_loss_and_the_scores(sets, fields):
  results, rows = run(sets, **fields)
  assert json.loads((sets / "run" / "columns.json").read_text()) == {
    "modality": ["MR", "X-ray"],
    "organ": ["brain", "chest"],
  }
  # Two passes over 16 and 8 images, in batches of 8, at a rate of 1.
  counts = {"heads": 2 * 16 / 8, "chests": 2 * 8 / 8}
  assert [row["set"] for row in rows] == ["heads"] * 8 + ["chests"] * 6
  for row in rows:
    assert float(row["count"]) == pytest.approx(counts[row["set"]])
  assert results["dataset"] == "heads,chests"
  assert results["data"]["counts"] == {"train": 24, "test": 14, "test_far": 4}
  assert results["scores"]["count"]["n_normal"] == 7
  by_set = {k: v["scores"]["count"] for k, v in results["sets"].items()}
  sizes = {name: found["n_normal"] for name, found in by_set.items()}
  assert sizes == {"heads": 4, "chests": 3, "far": 2}
  # Four patients of two images each; images of unknown patients count alone.
  assert by_set["heads"]["n_patients"] == 4
  assert results["scores"]["count"]["n_patients"] == 4 + 6
  if fields.get("parallel") is None:
    again = experiment.evaluate_run(sets / "run", out=sets / "again")
    assert read(sets / "again")[1] == rows
    assert set(again.sets) == {"heads", "chests", "far"}


def test_what_training_did_not_see_has_the_code_of_the_unknown(sets):
  write_set(
    sets, "mixed", 2, organ=lambda n: ["lung" if n == 8 else "brain"] * n,
    modality=whole("MR"),
  )  # fmt: skip
  _, rows = run(sets, "mixed")
  assert {float(row["count"]) for row in rows} == {-9.0}


def test_a_column_that_no_set_has_is_named_before_anything_is_written(sets):
  write_set(sets, "bare", 2, organ=whole("brain"))
  with pytest.raises(UserError, match="columns modality, which.*organ, set"):
    run(sets, "bare")
  assert not (sets / "run").exists()


def test_organs_of_several_sets_have_results_of_their_own(sets):
  write_set(
    sets, "slices", 2, {"train": 8, "test": 4},
    organ=whole("chest"), modality=whole("CT"),
  )  # fmt: skip
  results, _ = run(sets, "heads,chests,slices")
  # A modality is a set here, an organ is not.
  assert {k for k in results["sets"] if "=" in k} == {
    "organ=brain",
    "organ=chest",
  }
  count = results["sets"]["organ=chest"]["scores"]["count"]
  assert count["n_normal"] + count["n_abnormal"] == 6 + 4


def test_a_set_with_one_class_is_scored_and_not_ranked(sets):
  write_set(
    sets, "healthy", 2, {"train": 8, "test": 1},
    organ=whole("chest"), modality=whole("CT"),
  )  # fmt: skip
  results, rows = run(sets, "heads,healthy")
  assert [row["set"] for row in rows] == ["heads"] * 8 + ["healthy"]
  found = results["sets"]["healthy"]["scores"]["count"]
  assert (found["n_normal"], found["n_abnormal"]) == (1, 0)
  assert found["auroc"] is None and "oracle_accuracy" not in found
  assert results["scores"]["count"]["n_normal"] == 5  # pooled it counts


def test_organs_come_from_the_configuration_where_sets_have_none(sets):
  write_set(sets, "bare", 2, {"train": 8, "test": 4}, modality=whole("CT"))
  fields = {"data.organ": "brain, liver"}
  run(sets, "heads,bare", **fields)
  codes = json.loads((sets / "run" / "columns.json").read_text())
  assert codes["organ"] == ["brain", "liver"]


def test_organs_for_another_number_of_sets_are_refused(sets):
  with pytest.raises(UserError, match="given for 2 sets; give one organ for"):
    run(sets, **{"data.organ": "brain"})


def test_balanced_sampling_repeats_the_smaller_set(sets):
  _, rows = run(sets, **{"data.sampling": "balanced"})
  # Both sets have 16 rows a pass now: four batches in two passes each.
  for row in rows:
    assert float(row["count"]) == pytest.approx(2 * 16 / 8)


def test_classes_are_known_and_as_many_as_a_method_tells_apart():
  texts = {"organ": ("brain", "", "chest"), "set": ("a", "b", "a")}
  codes = columns.make_codes(texts, ["organ"])
  with pytest.raises(UserError, match="images of b have none"):
    columns.check_classes(texts, codes, {"organ": 3})
  texts["organ"] = ("brain", "liver", "chest")
  codes = columns.make_codes(texts, ["organ"])
  columns.check_classes(texts, codes, {"organ": 3})
  with pytest.raises(UserError, match="3 texts.*made for 2"):
    columns.check_classes(texts, codes, {"organ": 2})
