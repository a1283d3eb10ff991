"""Predictions for folders: the scores of `evaluate`, and what goes wrong."""

import csv

import numpy as np
from PIL import Image
import pytest

from medad_jax.data import scans
from medad_jax.engine import prediction
from medad_jax.types import UserError
from tests import tiny
from tests.engine import experiment_test

NAMES = ("a b.png", 'c,"d".png', "sub/ü 日本.png")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  folder = tmp_path_factory.mktemp("prediction")
  fields = {"validation.share": 0.25, "evaluation.false_alarms": 0.2}
  experiment_test.run("ae", folder, **fields)
  return folder


@pytest.fixture
def images(tmp_path):
  """The test set as files, and some that cannot be read."""
  folder = tmp_path / "images"
  (folder / "sub").mkdir(parents=True)
  for k, image in enumerate(tiny.images(12, len(tiny.COUNTS))[..., 0]):
    name = NAMES[k] if k < len(NAMES) else f"{k:02d}.png"
    Image.fromarray(image).save(folder / name)
  (folder / "broken.png").write_bytes(b"\x89PNG none")
  (folder / "note.txt").write_text("no image")
  (folder / ".hidden.png").write_bytes(b"")
  return folder


def pixels(path):
  with Image.open(path) as picture:
    return np.asarray(picture)


def table(path):
  with path.open(newline="", encoding="utf-8") as file:
    return {row["file"]: row for row in csv.DictReader(file)}


def test_scores_are_those_of_the_evaluation(finished, images, tmp_path):
  found = table(prediction.predict(finished / "run", images, tmp_path / "out"))
  with (finished / "run" / "scores.csv").open(newline="") as file:
    wanted = list(csv.DictReader(file))
  assert len(found) == 13 and set(NAMES) < set(found)
  for k, row in enumerate(wanted):
    name = NAMES[k] if k < len(NAMES) else f"{k:02d}.png"
    got = found[name]
    assert (got["score"], got["p_value"], got["flag"]) == (
      row["rec"],
      row["p_value"],
      row["flag"],
    )
    assert got["reason"] == ""
    assert pixels(tmp_path / f"out/overlays/{name}.png").shape == (16, 16, 3)
  broken = found["broken.png"]
  assert broken["score"] == broken["flag"] == "" and broken["reason"]


def test_shards_together_are_all_files(finished, images, tmp_path):
  whole = prediction.predict(
    finished / "run", images, tmp_path / "whole", overlays=False
  )
  out = tmp_path / "parts"
  run = finished / "run"
  for number in (3, 1):
    prediction.predict(run, images, out, shard=f"{number}/3", overlays=False)
  with pytest.raises(UserError, match="holds 2 tables of 3 shards; run 2/3"):
    prediction.merge(out)
  prediction.predict(run, images, out, shard="2/3", overlays=False)
  merged = prediction.merge(out)
  assert table(merged) == table(whole)
  assert list(table(merged)) == list(table(whole))


def test_a_killed_run_goes_on(finished, images, tmp_path):
  out = tmp_path / "out"
  path = prediction.predict(finished / "run", images, out, overlays=False)
  whole = path.read_bytes()
  lines = whole.splitlines(keepends=True)
  path.write_bytes(b"".join(lines[:6]) + lines[6][:5])
  prediction.predict(finished / "run", images, out, overlays=False)
  assert path.read_bytes() == whole


def test_a_healthy_image_stays_quiet(finished, images, tmp_path):
  """Below the anchor an overlay is the image."""
  prediction.predict(finished / "run", images, tmp_path / "out")
  quiet = 0
  for name in NAMES:
    drawn = pixels(tmp_path / f"out/overlays/{name}.png")
    image = pixels(images / name)
    quiet += (drawn == image[..., None]).all()
  assert quiet > 0


def test_folders_without_images_are_told(tmp_path):
  with pytest.raises(UserError, match="is not a folder"):
    scans.find(tmp_path / "none")
  with pytest.raises(UserError, match="there are no images in"):
    scans.find(tmp_path)


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "3", "1/0"])
def test_a_part_that_is_none_is_told(text):
  with pytest.raises(UserError, match="names no part; give one such as 3/16"):
    scans.shard([], text)


def test_another_table_is_not_overwritten(finished, images, tmp_path):
  (tmp_path / "scores.csv").write_text("name,label\nx,1\n")
  with pytest.raises(UserError, match="is no table of predictions"):
    prediction.predict(finished / "run", images, tmp_path, overlays=False)


def test_rows_of_two_runs_are_not_mixed(finished, images, tmp_path):
  run, out = finished / "run", tmp_path / "out"
  prediction.predict(run, images / "sub", out, overlays=False)
  with pytest.raises(
    UserError, match=r"scores.csv is of the run .* another --"
  ):
    prediction.predict(run, images, out, overlays=False)
