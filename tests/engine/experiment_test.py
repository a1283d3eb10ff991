"""Whole runs of every method, as the binaries make them, on many devices."""

import json

import jax
import numpy as np
import pytest

from medad_jax.data import cache
from medad_jax.engine import calibration, experiment
from medad_jax.engine import config as configuration
from medad_jax.types import UserError
from tests import tiny
from tests.methods import contract_test as contract

COUNTS = {**tiny.COUNTS, "test": 12}


def write_set(root, shape):
  """A built set, as another machine gets it: its cache alone."""
  size, _, channels = shape
  place = cache.Cache(root / "cache" / "tiny" / f"{size}x{channels}")
  facts = {
    "counts": COUNTS,
    "fingerprints": {split: f"{split}{shape}" for split in COUNTS},
  }
  for seed, (split, count) in enumerate(COUNTS.items()):
    labels = np.full(count, int(split == "unlabelled_abnormal"))
    if split == "test":
      labels = np.arange(count) % 2
    stored = {
      "images": tiny.images(count, seed, shape),
      "labels": labels,
      "masks": None,
      "names": tuple(f"{split}_{n}.png" for n in range(count)),
    }
    place.store(split, facts, stored)


def run(name, tmp_path, **fields):
  """A run at the contract test's sizes; results and log."""
  shape = contract.shape(name)
  write_set(tmp_path, shape)
  settings = {
    "data.name": "tiny",
    "data.dir": str(tmp_path),
    "data.image_size": shape[0],
    "data.channels": shape[2],
    "data.preparation": "stretch",
    "evaluation.batch_size": 8,
  }
  config = configuration.with_hyper(
    contract.small_config(name), settings | fields
  )
  workdir = tmp_path / "run"
  experiment.train_and_evaluate(config, workdir)
  results = json.loads((workdir / "results.json").read_text())
  return results, (workdir / "log.txt").read_text()


def check(name, results):
  found = results["scores"]
  assert set(found) == set(contract.build(name).score_names)
  for score in found.values():
    assert 0 <= score["auroc"] <= 1
    assert (score["n_normal"], score["n_abnormal"]) == (6, 6)


@pytest.mark.parametrize("name", contract.slow_but("ae"))
def test_every_method_runs_on_eight_devices(name, tmp_path):
  results, log = run(name, tmp_path)
  check(name, results)
  # Those train nothing by steps.
  if name not in ("deep_if", "patchcore", "resnet18_imagenet"):
    assert "on 8 device(s)" in log


@pytest.mark.parametrize(
  "name",
  [
    "ae",
    pytest.param("ddad", marks=pytest.mark.slow),
    pytest.param("cutpaste_2s", marks=pytest.mark.slow),
  ],
)
def test_a_method_of_each_kind_runs_on_three_devices(
  undrawn, name, tmp_path, monkeypatch
):
  three = jax.devices()[:3]
  monkeypatch.setattr(jax, "devices", lambda *_: list(three))
  results, log = run(name, tmp_path)
  check(name, results)
  # Three divide neither a batch of 8 nor 1, 2 or 4 members.
  assert "on 2 device(s)" in log


def test_a_run_stops_after_a_stage_is_evaluated_and_goes_on(undrawn, tmp_path):
  one = {"mesh.member": 1, "mesh.batch": 1}
  results, _ = run("ddad", tmp_path, until="ensemble", **one)
  assert not {k for k in results["scores"] if k.startswith("r_")}
  results, log = run("ddad", tmp_path, until="refine_dual", **one)
  assert {k for k in results["scores"] if k.startswith("r_")} == {"r_dual"}
  results, log = run("ddad", tmp_path, **one)
  assert "ensemble: already trained" in log
  assert {"r_dual", "r_intra"} <= set(results["scores"])


def test_a_stage_that_all_scores_need_is_named(tmp_path):
  with pytest.raises(
    UserError, match="until='features'.*need the stage 'bank'"
  ):
    run("patchcore", tmp_path, until="features")


def test_held_out_images_are_scored_and_kept(tmp_path):
  run("ae", tmp_path, **{"validation.share": 0.25})
  found = calibration.load(tmp_path / "run")
  assert found is not None and found.scores["rec"].shape == (6, 1)
