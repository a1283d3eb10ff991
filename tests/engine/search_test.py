"""A search on a small set: trials on folds, together, resumed, and chosen."""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics

from data_builders import folding
from medad_jax import shipped
from medad_jax.data import folds, index
from medad_jax.engine import config as configuration
from medad_jax.engine import members, meter, scorer, search, selection, space
from medad_jax.engine import train as training
from medad_jax.types import UserError
from tests import tiny
from tests.data_builders.folds_test import write_set
from tests.methods import contract_test as contract

# The last one diverges.
RATES = "train.learning_rate=0.01,0.001,10000"
EVERY = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """A set without a test split, which no search may open, and its folds."""
  folder = tmp_path_factory.mktemp("data")
  images = {
    "train": tiny.images(36, 0),
    "unlabelled_abnormal": tiny.images(12, 1),
    "test": tiny.images(10, 2),
  }
  write_set(folder, "some", images)
  found = folding.make("some", 2, data_dir=str(folder), image_size=16)
  folds.write(folds.path_of(folder, "some"), found)
  removed = list((folder / "cache" / "some").rglob("test*"))
  assert removed
  for path in removed:
    path.unlink() if path.is_file() else shutil.rmtree(path)
  return folder


def found_folds(root):
  return folds.read(folds.path_of(root, "some"))


def config(root, method="ae", **fields):
  small = contract.small_config(method)
  values = {
    "data.name": "some",
    "data.dir": str(root),
    "data.image_size": 16,
    "evaluation.batch_size": 8,
    "train.batch_size": 4,
    "train.epochs": 6,
    "train.algorithm": "sgd",
    "train.weight_decay": 0.01,
    "steps_per_call": 1,
  }
  return configuration.with_hyper(small, values | fields)


def run(root, workdir, texts=(RATES,), whole=None, **options):
  options = {"every": EVERY, **options}
  return search.search(
    whole or config(root),
    [space.parse(text) for text in texts],
    found_folds(root),
    workdir,
    search.Options(**options),
  )


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("search") / "all"
  return workdir, run(root, workdir)


def measured(workdir):
  found = sorted(workdir.glob("programs/*/measured.json"))
  return [path.read_text() for path in found]


def test_trials_together_measure_what_each_does_alone(root, done, tmp_path):
  _, together = done
  alone = run(root, tmp_path, ["train.learning_rate=0.001"])
  (one,), row = alone.rows, together.rows[1]
  assert row.steps == one.steps
  np.testing.assert_allclose(
    row.values["validation_loss"], one.values["validation_loss"], rtol=2e-4
  )
  # Rounding may turn a pair of almost equal scores, of 18 x 6 pairs.
  np.testing.assert_allclose(
    row.values["anomalies"], one.values["anomalies"], atol=2 / 108
  )


def test_a_training_that_diverges_leaves_the_others(done):
  _, found = done
  assert found.rows[2].length is None
  assert all(row.length for row in found.rows[:2])
  assert found.best["anomalies"] in (0, 1)


def test_a_fold_is_measured_as_a_run_on_its_rows(root, tmp_path):
  """The same training by hand, scored by scikit-learn."""
  whole = config(root)
  method = configuration.build_method(whole)
  fold = found_folds(root).folds[1]
  train, few, _ = tiny.images(36, 0), tiny.images(12, 1), None
  settings = tiny.run(
    tmp_path,
    tiny.resident.Resident(train),
    pools={index.NORMAL: fold.train},
  )
  states = training.train(method.phases(), settings)
  score = scorer.Scorer(method, states, 8, tiny.devices())
  name = method.score_names[-1]
  normal = score.images(train[fold.normal])[name][:, 0]
  abnormal = score.images(few[fold.anomalies])[name][:, 0]
  auroc = metrics.roc_auc_score(
    [0] * len(normal) + [1] * len(abnormal), [*normal, *abnormal]
  )
  rate = whole["train"]["learning_rate"]
  texts = [f"train.learning_rate={rate}"]
  patient = selection.Stopping("best")
  steps = int(states["train"].step[0])
  found = run(root, tmp_path / "s", texts, every=steps, stopping=patient)
  assert found.rows[0].steps == (steps, steps)
  assert found.rows[0].values["anomalies"][1] == pytest.approx(auroc)
  loss = np.mean(score.images(train[fold.validation])[name])
  assert found.rows[0].values["validation_loss"][1] == pytest.approx(
    loss, rel=1e-4
  )


def test_a_search_killed_on_its_way_goes_on(root, done, tmp_path, monkeypatch):
  workdir, wanted = done
  real, left = meter.Meter.measure, [2]

  def measure(self, *args):
    if not left[0]:
      raise KeyboardInterrupt
    left[0] -= 1
    real(self, *args)

  with monkeypatch.context() as patched:
    patched.setattr(meter.Meter, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
      # With a checkpoint after each of the six or seven steps until then.
      run(root, tmp_path / "cut", whole=config(root, checkpoint_seconds=0.0))
  found = run(root, tmp_path / "cut")
  assert found == wanted
  assert measured(tmp_path / "cut") == measured(workdir)
  # Once more, it trains nothing.
  monkeypatch.setattr(search.train, "train", None)
  assert run(root, tmp_path / "cut") == wanted


def test_it_leaves_a_table_a_picture_and_a_configuration(root, done):
  workdir, found = done
  rows = list(csv.DictReader((workdir / "table.csv").read_text().splitlines()))
  rates = [float(row["train.learning_rate"]) for row in rows]
  assert rates == [0.01, 0.001, 10000]
  assert (workdir / "search.png").read_bytes().startswith(b"\x89PNG")
  assert not list(workdir.rglob("checkpoints"))
  shipped.module("configs")
  file = importlib.util.spec_from_file_location("final", workdir / "final.py")
  module = importlib.util.module_from_spec(file)
  file.loader.exec_module(module)
  final = module.get_config().to_dict()
  best = found.best["anomalies"]
  wanted = config(
    root,
    **{
      "train.learning_rate": rates[best],
      "train.epochs": final["train"]["epochs"],
    },
  )
  assert configuration.flatten(final) == configuration.flatten(wanted)
  # Four images a batch, and as many steps an epoch as train rows fill.
  epoch = min(len(f.train) for f in found_folds(root).folds) // 4
  assert final["train"]["epochs"] == max(
    round(found.rows[best].length / epoch), 1
  )


def test_patience_ends_a_program_early(root, tmp_path):
  stopping = selection.Stopping(patience=1, min_delta=1e3)
  found = run(root, tmp_path, every=1, stopping=stopping)
  assert [row.steps for row in found.rows] == [(1, 1), (1, 1), ()]
  (text,) = measured(tmp_path)
  assert '"3"' in text and '"4"' not in text  # the third without improvement


@pytest.mark.parametrize(
  ("method", "texts", "fields"),
  [
    pytest.param(
      "dpa",
      ["train.learning_rate=0.01,0.001"],
      {"train.epochs": 1},
      marks=pytest.mark.slow,
    ),
    ("deep_if", ["model.layer=conv2d_2b,conv2d_1a"], None),
  ],
)
def test_other_kinds_of_stages_are_measured(
  root, tmp_path, method, texts, fields
):
  shape = contract.shape(method)
  assert shape == (16, 16, 1)
  whole = contract.small_config(method)
  values = {"data.name": "some", "data.dir": str(root), "data.image_size": 16}
  if fields is not None:
    values |= {"train.batch_size": 4}
  whole = configuration.with_hyper(whole, values)
  found = run(root, tmp_path / "all", texts, whole, every=None)
  assert all(len(row.values["anomalies"]) == 2 for row in found.rows)
  # Learning rates and layers are each compared in one program.
  assert len(found.rows) == 2 and len(measured(tmp_path / "all")) == 1
  if method == "deep_if":
    alone = run(root, tmp_path / "one", [texts[0][:-10]], whole, every=None)
    for rule, values in alone.rows[0].values.items():
      np.testing.assert_allclose(found.rows[0].values[rule], values, rtol=1e-5)


def test_members_of_a_fold_are_named_as_elsewhere():
  stage = configuration.build_method(contract.small_config("ae")).phases()[0]
  (plain,) = members.of_stage(stage, (members.Trial(0),))
  (folded,) = members.of_stage(stage, (members.Trial(0, fold="1"),))
  assert folded.name == plain.name
  assert (plain.rows, folded.rows) == ("normal", "normal/1")


@pytest.mark.parametrize(
  ("fields", "texts", "says"),
  [
    ({"data.name": "other"}, [RATES], "the folds are of some and data.name"),
    ({"train.batch_size": 64}, [RATES], "a batch takes 64"),
    ({}, ["train.learning_rate=0"], "train.learning_rate=0"),
    ({}, ["select=last,average"], "select='average'.*final training"),
  ],
)
def test_what_cannot_be_searched_is_one_sentence(
  root, tmp_path, fields, texts, says
):
  with pytest.raises(UserError, match=says):
    run(root, tmp_path, texts, config(root, **fields))


def test_a_folder_belongs_to_one_search(root, done):
  workdir, _ = done
  with pytest.raises(UserError, match="another search, which differs in grid"):
    run(root, workdir, ["train.learning_rate=0.5"])


def test_a_search_of_another_configuration_is_refused_by_its_fields(root, done):
  workdir, _ = done
  with pytest.raises(
    UserError,
    match=r"holds a search of another .*train.epochs \(6 there, 7 now",
  ):
    run(root, workdir, whole=config(root, **{"train.epochs": 7}))


def test_a_search_older_than_some_fields_goes_on(root, done, tmp_path, capfd):
  workdir, wanted = done
  copy = shutil.copytree(workdir, tmp_path / "older")
  path = copy / "search.json"
  older = json.loads(path.read_text())
  del older["config"]["data.axis"]
  path.write_text(json.dumps(older))
  assert run(root, copy) == wanted
  said = capfd.readouterr().err
  assert said.count("search.json is older than data.axis='axial',") == 1
  # What no run decides by is in no such file, and nothing to speak of.
  assert "parallel" not in said
  assert run(root, copy) == wanted
  assert "older" not in capfd.readouterr().err  # it has the field now


def test_a_search_of_a_newer_version_is_one_sentence(root, done, tmp_path):
  workdir, _ = done
  copy = shutil.copytree(workdir, tmp_path / "newer")
  path = copy / "search.json"
  newer = json.loads(path.read_text())
  newer["config"]["train.invented"] = 1
  path.write_text(json.dumps(newer))
  with pytest.raises(UserError, match="another version.*train.invented"):
    run(root, copy)


def command(root, *args):
  done = subprocess.run(
    [
      *(sys.executable, "-m", "medad_jax.search"),
      "--config=configs/reconstruction.py:some/ae",
      f"--config.data.dir={root}",
      f"--workdir={root}/never",
      *args,
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert not (root / "never").exists()
  assert len(done.stderr.strip().splitlines()) == 1
  return done


@pytest.mark.parametrize(
  ("args", "says"),
  [
    ((), "no --space was given; give FIELD=VALUE,VALUE or one of dpa"),
    (("--space=dpa", "--config.data.name=no"), "there are no folds in"),
    (("--space=piad",), "model.channels is not a field"),
  ],
)
def test_a_wrong_command_is_one_sentence(root, args, says):
  done = command(root, *args)
  assert done.returncode == 2 and says in done.stderr
