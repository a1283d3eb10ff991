"""Curves of AUROC by step: what is kept, scored, chosen and written."""

import csv
import io
import json
import shutil

import numpy as np
import pytest

from medad_jax.engine import (
  by_step,
  checkpoint,
  experiment,
  parallel,
  trained,
)
from medad_jax.engine import config as configuration
from medad_jax.report import by_step as report
from medad_jax.report import results
from medad_jax.types import UserError
from tests.engine import experiment_test
from tests.methods import contract_test as contract

RULES = ["last", "validation_loss", "synthetic", "average"]
EPOCHS = 6


@pytest.fixture(scope="module")
def run(undrawn, request, tmp_path_factory):
  """A run of two seeds and two members that ends with what a rule chooses."""
  root = tmp_path_factory.mktemp("by_step")
  with pytest.MonkeyPatch.context() as patch:
    # So many that AUROC tells checkpoints apart.
    patch.setitem(experiment_test.COUNTS, "test", 80)
    experiment_test.write_set(root, (16, 16, 1))
  changes = {
    "data.name": "tiny",
    "data.dir": str(root),
    "data.image_size": 16,
    "evaluation.batch_size": 8,
    "train.epochs": EPOCHS,
    # So large that the last step is not the best one.
    "train.learning_rate": 0.02,
    "model.members": 2,
    "seeds": 2,
    "mesh.member": 1,
    "mesh.batch": 1,
    "validation.share": 0.25,
    "validation.every": 1,
    "steps_per_call": 2,
    "select": getattr(request, "param", "validation_loss"),
    "keep_checkpoints": True,
  }
  config = configuration.with_hyper(contract.small_config("ae"), changes)
  experiment.train_and_evaluate(config, root / "run")
  return root / "run"


@pytest.fixture(scope="module")
def found(run):
  return by_step.curves(run)


def target_of(workdir):
  """Shapes of the states that the run's phase ends with."""
  states = trained.Trained.load(workdir).states["train"]
  return checkpoint.abstract(states, parallel.everywhere())


def test_every_validation_is_a_point(run, found):
  lines = (run / "metrics.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  measured = [r["step"] for r in records if "validation_loss" in r]
  assert found.steps == tuple(measured) and len(measured) == EPOCHS
  assert [one.seed for one in found.trainings] == [0, 1]
  assert all(len(one.aurocs) == EPOCHS for one in found.trainings)
  # They are other nets: the curve is no straight line.
  assert len(set(found.trainings[0].aurocs)) > 1, found.trainings


def test_a_rules_choice_is_what_the_run_ends_with(run, found):
  """`select` chose among the same states, member by member."""
  check_choice(run, found)


@pytest.mark.parametrize("run", ["average"], indirect=True)
def test_the_mean_is_what_a_run_ends_with(run):
  check_choice(run, by_step.curves(run))


def check_choice(run, found):
  held = results.Results.load(run / "results.json")
  own = RULES.index(held.config["select"])
  spread = held.main.scores["rec"].over_seeds["auroc"]
  for training, auroc in zip(found.trainings, spread.per_seed, strict=True):
    assert [choice.rule for choice in training.choices] == RULES
    last, chosen = training.choices[0], training.choices[own]
    assert chosen.auroc == auroc
    assert last.auroc == training.aurocs[-1]
    assert set(last.steps) == {found.steps[-1]}
    low, high = chosen.ci
    assert low <= chosen.auroc <= high
  steps = {s for one in found.trainings for s in one.choices[own].steps}
  assert steps != {found.steps[-1]}  # the rule had something to choose


def test_a_checkpoint_is_scored_once(run, found, monkeypatch):
  """Unless the code has changed, or the file is damaged."""
  whole = by_step._Scoring.scores
  seen = []

  def counted(self, states):
    seen.append(1)
    return whole(self, states)

  monkeypatch.setattr(by_step._Scoring, "scores", counted)
  assert by_step.curves(run) == found
  # What members have chosen each for themselves is put together anew.
  rules = len(seen)
  assert rules < EPOCHS
  torn = next((run / "checkpoints" / "train_kept").glob("*/scores.npz"))
  torn.write_bytes(torn.read_bytes()[:-9])
  assert by_step.curves(run) == found
  assert len(seen) == 2 * rules + 1
  monkeypatch.setattr(by_step, "_made_by", lambda dataset: "other code")
  assert by_step.curves(run) == found
  assert len(seen) == 3 * rules + 1 + EPOCHS


def test_the_ceiling_is_named_oracle_and_no_curve_passes_it(found):
  rows = list(csv.DictReader(io.StringIO(report.csv_text([found]))))
  assert len(rows) == 2 * (EPOCHS + len(RULES))
  for training in found.trainings:
    own = [r for r in rows if r["seed"] == str(training.seed) and not r["rule"]]
    [best] = [r for r in own if r["oracle_best"] == "1"]
    assert float(best["auroc"]) == max(float(r["auroc"]) for r in own)
  text = report.markdown([found])
  assert "| oracle_best |" in text and "by_step.png" in text
  assert text.count("validation_loss |") == 2
  assert "saw no test label" in report.text([found])
  assert report.picture([found, found])[:4] == b"\x89PNG"


def test_a_run_without_them_is_one_sentence(run, tmp_path):
  copy = shutil.copytree(run, tmp_path / "run")
  shutil.rmtree(copy / "checkpoints" / "train_kept")
  with pytest.raises(UserError, match="keep_checkpoints"):
    by_step.curves(copy)
  # Older runs do not know the field, and load.
  config = json.loads((copy / "config.json").read_text())
  del config["keep_checkpoints"]
  (copy / "config.json").write_text(json.dumps(config))
  with pytest.raises(UserError, match="keep_checkpoints"):
    by_step.curves(copy)


def test_a_torn_checkpoint_is_written_again(run, tmp_path):
  kept = checkpoint.kept(run / "checkpoints", "train")
  target = target_of(run)
  state = next(iter(kept.values())).final(target)
  checkpoint.keep(tmp_path, "train", 3, state)
  torn = tmp_path / "train_kept" / "3" / "final" / "checksums.json"
  torn.unlink()
  with pytest.raises(UserError, match="damaged"):
    checkpoint.kept(tmp_path, "train")[3].final(target)
  checkpoint.keep(tmp_path, "train", 3, state)
  again = checkpoint.kept(tmp_path, "train")[3].final(target)
  np.testing.assert_array_equal(again.step, state.step)
