"""A run is trained and evaluated, then evaluated again from its folder."""

import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from data_builders import build
from medad_jax.engine.trained import Trained
from medad_jax.report.results import Results
from medad_jax.types import UserError
from tests.data_builders import sources

ROOT = Path(__file__).parents[2]


def call(module, *args):
  """Without simulated devices: a CPU's cores are made devices, or are not."""
  plain = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(
    [sys.executable, "-m", f"medad_jax.{module}", *args],
    check=False,
    cwd=ROOT,
    env=plain | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  source = sources.make("folder", folder / "source")
  build.build("folder", source=source, data_dir=folder, name="mine")
  return folder


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
  """The folder of a trained run of two members."""
  workdir = tmp_path_factory.mktemp("run") / "ae"
  changes = {
    "data.dir": data_dir,
    "data.image_size": 16,
    "train.epochs": 1,
    "train.batch_size": 5,
    "model.members": 2,
    "model.width": 4,
    "model.hidden": 8,
  }
  call(
    "main",
    "--config=configs/reconstruction.py:mine/ae",
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in changes.items()),
  )
  return workdir


def stamps(folder):
  return {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for path in sorted(folder.rglob("*"))
  }


@pytest.fixture(scope="module")
def elsewhere(run, tmp_path_factory):
  """What an evaluation of somebody else's run leaves."""
  out, before = tmp_path_factory.mktemp("out") / "new", stamps(run)
  done = call(
    "evaluate",
    f"--workdir={run}",
    f"--out={out}",
    "--save=maps,reconstructions,latents",
  )
  assert stamps(run) == before  # a folder that is only read may be read-only
  assert str(out) in done.stdout
  return out


def test_an_evaluation_gives_the_bits_of_the_training(run, elsewhere):
  """One program on one mesh: scores agree to the last digit."""
  first, again = (folder / "scores.csv" for folder in (run, elsewhere))
  assert first.read_bytes() == again.read_bytes()
  results = [Results.load(f / "results.json") for f in (run, elsewhere)]
  assert results[0].main == results[1].main
  assert results[0].trained == results[1].trained
  assert len(results[0].trained) == 1
  devices = [r.evaluated["devices"] for r in results]
  assert devices[0] == devices[1] == results[0].trained[0]["devices"]


def test_results_lie_where_they_were_wanted(elsewhere):
  names = {path.name for path in elsewhere.iterdir()}
  assert {"scores.csv", "results.json", "report.html", "figures"} <= names
  assert {"maps_rec.npy", "reconstructions.npy", "latents.npy"} <= names
  assert {"latents.png", "training.png"} <= {
    path.name for path in (elsewhere / "figures").iterdir()
  }


def test_a_trained_model_is_loaded_and_asked(run, elsewhere):
  model = Trained.load(run)
  images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
  found = model.score(images)
  assert set(found.scores.image) == set(model.method.score_names)
  assert found.scores.image["rec"].shape == (3, 1)
  saved = np.load(elsewhere / "latents.npy")
  assert found.latents.shape[1:] == (1, *saved.shape[1:])


def test_a_folder_without_a_run_is_one_sentence(tmp_path):
  with pytest.raises(UserError, match="holds no run"):
    Trained.load(tmp_path)
