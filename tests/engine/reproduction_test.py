"""A table of runs: trained once, resumed, and set beside what is published."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from configs import _tables
from medad_jax import reproduce, shipped
from medad_jax.engine import config as configuration
from medad_jax.engine import experiment, reproduction
from medad_jax.types import UserError
from tests.engine import experiment_test
from tests.methods import contract_test as contract

PUBLISHED = Path(_tables.__file__).parent / "published.json"


def entry(root, title, **fields):
  values = {
    "data.name": "tiny",
    "data.dir": str(root),
    "data.image_size": 16,
    "evaluation.batch_size": 8,
  }
  whole = configuration.with_hyper(contract.small_config("ae"), values | fields)
  return reproduction.Entry("classes", title, whole, 0.5, averaged=True)


def test_runs_are_trained_once_and_averaged(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(experiment.draw, "draw", lambda *_: None)  # seconds
  experiment_test.write_set(tmp_path, (16, 16, 1))
  entries = [entry(tmp_path, "0"), entry(tmp_path, "1", **{"seed": 7})]
  arguments = (entries, {"classes": 0.75}, tmp_path / "table", "Published: X.")
  lines = reproduction.reproduce(*arguments)
  assert [line.title for line in lines] == ["0", "1", "mean"]
  assert lines[2].auroc == pytest.approx(np.mean([x.auroc for x in lines[:2]]))
  assert (lines[0].published, lines[2].published) == (0.5, 0.75)
  assert lines[0].std is None  # of one seed
  found = json.loads((tmp_path / "table/classes/1/results.json").read_text())
  assert lines[1].auroc == found["scores"]["rec"]["auroc"]
  said = capsys.readouterr().out
  assert "0.750" in said and said.rstrip().endswith("Published: X.")
  text = (tmp_path / "table/table.csv").read_text()
  rows = list(csv.reader(text.splitlines()))
  assert len(rows) == 4
  # The same command again reads them, and another configuration is refused.
  with monkeypatch.context() as patched:
    patched.setattr(experiment, "_material", None)
    assert reproduction.reproduce(*arguments) == lines
  others = [entry(tmp_path, "0", seed=3), entries[1]]
  with pytest.raises(UserError, match="1 of 2 runs have failed; .* differs in"):
    reproduction.reproduce(others, *arguments[1:])
  assert "failed" in capsys.readouterr().out


def line(title, part, *per_seed, group="ours"):
  mean = np.mean(per_seed) if per_seed else None
  return reproduction.Line(group, title, mean, part=part, per_seed=per_seed)


LINES = [
  line("joint", "", 0.6, 0.7, 0.65),
  line("joint", "a", 0.5, 0.6, 0.7),
  line("plain", "", 0.5, 0.7, 0.6),
  line("plain", "a", 0.5, 0.6, 0.7),
  line("a", "", 0.4, 0.6, 0.8, group="ours, each alone"),
  line("failed", ""),
]


def test_runs_are_compared_seed_by_seed():
  pair = reproduction.Pair(("ours", "joint"), ("ours", "plain"))
  all_, a = reproduction.compare(pair, LINES)
  assert (all_.part, a.part) == ("", "a")
  assert all_.title == "joint, less plain"
  gaps = np.array([0.1, 0.0, 0.05])
  half = 4.302652730 * gaps.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees
  wanted = (0.05, 0.05 - half, 0.05 + half)
  assert (all_.mean, all_.low, all_.high) == pytest.approx(wanted)
  # What did nothing is told as well.
  assert (a.mean, a.low, a.high) == (0, 0, 0)
  said = reproduction.text_of_gaps([all_, a])
  assert "+0.050 [-0.074, +0.174]" in said and "+0.000 [+0.000" in said


def test_a_set_of_joint_ones_is_compared_with_its_own_model():
  alone = ("ours, each alone", "a")
  pair = reproduction.Pair(("ours", "joint"), alone, "a")
  (found,) = reproduction.compare(pair, LINES)
  assert found.title == "joint, less each alone"
  assert found.mean == pytest.approx(0)
  failed = reproduction.Pair(("ours", "joint"), ("ours", "failed"))
  assert reproduction.compare(failed, LINES) == []


@pytest.mark.parametrize("name", ["maddr", "maddr/dpa", "dpa/cifar10"])
def test_tables_compare_runs_that_they_have(name):
  runs = {(row.group, row.title) for row in _tables.rows(name)}
  found = _tables.differences(name)
  assert bool(found) is name.startswith("maddr")
  assert {pair.run for pair in found} | {pair.other for pair in found} <= runs


def test_a_field_changes_the_runs_that_have_it():
  rows = _tables.rows("maddr")
  found = reproduce.changed(rows, {"model.slots": 7, "seeds": 2})
  slots = {config["model"].get("slots") for config in found}
  assert slots == {None, 7} and {config["seeds"] for config in found} == {2}
  with pytest.raises(UserError, match="model.slot is not a field.*slots"):
    reproduce.changed(rows, {"model.slot": 7, "seeds": 2})


@pytest.mark.parametrize("name", _tables.names())
def test_tables_have_runs_that_are_configured(name):
  rows = _tables.rows(name)
  assert len({(row.group, row.title) for row in rows}) == len(rows) > 0
  for row in (*rows, *_tables.rows(name, ablation=True)[:1]):
    module = shipped.module(f"configs.{row.file}")
    if row is rows[-1]:
      configuration.build_method(module.get_config(row.argument).to_dict())


def test_an_ablation_is_not_in_the_table_itself():
  plain = _tables.rows("dpa/nih_subset")
  ablated = _tables.rows("dpa/nih_subset", ablation=True)
  assert {row.group for row in plain} == {"wo_pg", "pg"}
  assert len(ablated) == 8 and not {*plain} & {*ablated}
  assert _tables.rows("dpa/cifar10", ablation=True) == []


def test_published_values_are_of_runs_that_there_are():
  known = json.loads(PUBLISHED.read_text())
  for name, groups in known["auroc"].items():
    rows = _tables.rows(name)
    for group, found in groups.items():
      titles = {row.title for row in rows if row.group == group}
      averaged = any(row.averaged for row in rows if row.group == group)
      assert found["source"] in known["sources"]
      assert set(found["values"]) <= titles | ({"mean"} if averaged else set())
      assert all(0 < value < 1 for value in found["values"].values())
