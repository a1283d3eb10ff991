"""A table of runs: trained once, resumed, and set beside what is published."""

import csv
import json

import numpy as np
import pytest

from configs import _tables
from medad_jax import shipped
from medad_jax.engine import (
  compared,
  comparison,
  experiment,
  quick,
  reproduction,
  table_runs,
)
from medad_jax.engine import config as configuration
from medad_jax.report import results
from medad_jax.types import UserError
from tests.engine import experiment_test
from tests.methods import contract_test as contract


def entry(root, title, **fields):
  values = {
    "data.name": "tiny",
    "data.dir": str(root),
    "data.image_size": 16,
    "evaluation.batch_size": 8,
  }
  whole = configuration.with_hyper(contract.small_config("ae"), values | fields)
  scores = (("rec", "ae"), ("grad_rec", "ae-grad"))
  options = {"dataset": "brain", "protocol": quick.SAID}
  return reproduction.Entry("classes", title, whole, True, scores, **options)


def test_runs_are_trained_once_and_averaged(
  undrawn, tmp_path, monkeypatch, capsys
):
  experiment_test.write_set(tmp_path, (16, 16, 1))
  entries = [entry(tmp_path, "0"), entry(tmp_path, "1", **{"seed": 7})]
  arguments = (entries, tmp_path / "table", "the command", ["A note."])
  lines = reproduction.reproduce(*arguments)
  own = [x for x in lines if (x.method, x.metric) == ("ae", "auroc")]
  assert [line.run for line in own] == ["classes 0", "classes 1", "mean"]
  assert own[2].mean == pytest.approx(np.mean([x.mean for x in own[:2]]))
  assert own[0].published[0].value == 0.859
  assert own[0].verdict == "cannot tell: 1 seed"
  found = json.loads((tmp_path / "table/classes/1/results.json").read_text())
  assert own[1].mean == found["scores"]["rec"]["auroc"]
  assert own[1].interval == tuple(found["scores"]["rec"]["auroc_ci"])
  _check_page(tmp_path / "table", found)
  assert "0.859" in capsys.readouterr().out
  # The same command again reads them, and another configuration is refused.
  with monkeypatch.context() as patched:
    patched.setattr(experiment.material, "prepare", None)
    patched.setattr(reproduction.costs, "measure", None)
    assert reproduction.reproduce(*arguments) == lines
  _check_compared(tmp_path / "table/classes")
  # As seeds of one run they are one line.
  pooled = reproduction._lines(
    [
      reproduction.dataclasses.replace(e, apart=True, title=f"ae/{e.title}")
      for e in entries
    ],
    {
      f"classes ae/{n}": results.Results.load(
        tmp_path / f"table/classes/{n}/results.json"
      )
      for n in "01"
    },
    tmp_path / "none",
  )
  assert (pooled[0].run, len(pooled[0].values)) == ("classes ae", 2)
  others = [entry(tmp_path, "0", seed=3), entries[1]]
  with pytest.raises(UserError, match="1 of 2 runs have failed; .* differs in"):
    reproduction.reproduce(others, *arguments[1:])
  assert "failed" in capsys.readouterr().out


def _check_page(folder, found):
  page = (folder / "page.md").read_text()
  for part in (
    "# the command",
    "A note.",
    found["data"]["fingerprint"],
    found["trained"][0]["versions"]["jax"],
    "minutes of training",
    "AE4AD tables",
  ):
    assert part in page
  rows = [x for x in page.splitlines() if x.startswith("| classes")]
  assert rows and all("a tenth of the protocol" in row for row in rows)
  assert (folder / "table.png").read_bytes()[:4] == b"\x89PNG"
  [first, *_] = csv.DictReader((folder / "table.csv").read_text().splitlines())
  assert int(first["parameters"].replace(",", "")) > 0
  assert int(first["MACs an image"].replace(",", "")) > 0


def _check_compared(folder):
  """Two runs that differ in their seeds alone are one with two seeds."""
  lines, pairs = compared.compared([str(folder / "0"), str(folder / "1")])
  assert pairs == []
  own = next(x for x in lines if (x.method, x.metric) == ("ae", "auroc"))
  each = [
    json.loads((folder / name / "results.json").read_text()) for name in "01"
  ]
  assert own.values == tuple(x["scores"]["rec"]["auroc"] for x in each)
  assert own.interval is not None and "model.latent 3" in own.protocol
  with pytest.raises(UserError, match="is not there"):
    compared.compared([str(folder / "2")])


@pytest.mark.parametrize("name", _tables.names())
def test_tables_have_runs_that_are_configured(name):
  rows = _tables.rows(name)
  assert len({(row.group, row.title) for row in rows}) == len(rows) > 0
  for row in (rows[-1], *_tables.rows(name, ablation=True)[:1]):
    config = comparison.configured(row)
    configuration.build_method(quick.shortened(config))


def test_an_ablation_is_not_in_the_table_itself():
  plain = _tables.rows("dpa/nih_subset")
  ablated = _tables.rows("dpa/nih_subset", ablation=True)
  assert {row.group for row in plain} == {"wo_pg", "pg"}
  assert len(ablated) == 8 and not {*plain} & {*ablated}
  assert _tables.rows("dpa/cifar10", ablation=True) == []
  ratios = [r.title for r in _tables.rows("ddad/rsna", True)][:6]
  assert ratios == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
  assert len(_tables.rows("ae4ad/brain")) == 8


def test_quick_is_a_tenth():
  for file, argument, changed in (
    ("reconstruction", "brain/ae", {"train.epochs": 60}),
    ("rsna_ddad", "ae", {"train.epochs": 25, "refine.epochs": 10}),
    ("dpa", "nih_ap/pg", {"train.steps": 700, "growth.stable_steps": 2000}),
    (
      "maddr",
      "brain/dpa",
      {"train.steps": 1600, "train.epoch_steps": 100, "train.epochs": 250},
    ),
  ):
    module = shipped.module(f"configs.{file}")
    config = module.get_config(argument).to_dict()
    flat = configuration.flatten(quick.shortened(config))
    assert {name: flat[name] for name in changed} == changed


def test_a_run_is_beside_the_protocol_that_it_is_nearest_to():
  row = _tables.Row("", "", "reconstruction", "brain/ae")
  changes = {"model.latent": 4, "train.epochs": 60, "seed": 5, "seeds": 3}
  config = comparison.configured(row, changes)
  found, note = comparison.row_of(json.loads(json.dumps(config)))
  assert found.scores == (("rec", "ae,latent=4"),)
  assert note == "train.epochs 60 for 600"
  assert comparison.row_of(configuration.defaults("patchcore")) is None


def test_methods_and_classes_choose_runs():
  def titles(table, *given):
    return [row.title for row in table_runs.chosen(table, False, *given)]

  assert titles("medianomaly/brain", ["ae", "vae"]) == ["ae", "vae"]
  assert titles("medianomaly/brain", ["ssl"])[0] == "cutpaste"
  assert titles("piad/svhn", ["with_cv"], ["3", "5"]) == ["3", "5"]
  with pytest.raises(UserError, match="--methods=ea names no run of .* ae, "):
    titles("medianomaly/brain", ["ea"])
  with pytest.raises(UserError, match="--classes=12 names no run"):
    titles("dpa/cifar10", [], ["12"])
  with pytest.raises(UserError, match="dpa/cifar10 has no ablations"):
    table_runs.chosen("dpa/cifar10", True)


def test_changes_are_for_rows_that_have_the_field():
  rows = _tables.rows("maddr")
  changes = table_runs.changes(["gan.epochs=1", "seed=4"])
  configs = table_runs.changed(rows, changes)
  assert {config["seed"] for config in configs} == {4}
  found = [config["gan"]["epochs"] for config in configs if "gan" in config]
  assert found and {*found} == {1}
  with pytest.raises(UserError, match="no.such"):
    table_runs.changed(rows, {"no.such": 1})
  with pytest.raises(UserError, match="has no value"):
    table_runs.changes(["seed"])
  apart = [*table_runs.by_run(rows[:1], configs[:1], ["0", "2"])]
  assert [(t, c["seed"], c["seeds"]) for t, _, c in apart] == [
    ("joint/seed_0", 0, 1),
    ("joint/seed_2", 2, 1),
  ]
