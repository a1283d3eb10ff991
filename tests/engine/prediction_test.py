"""Predictions for folders: the scores of `evaluate`, and what goes wrong."""

import csv
import shutil

import numpy as np
from PIL import Image
import pytest

from medad_jax.data import scans
from medad_jax.engine import outcome, prediction
from medad_jax.types import UserError
from tests import tiny
from tests.data import scans_test
from tests.data_builders import sources
from tests.engine import experiment_test

TABLE = prediction.Wanted(overlays=False)
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
    finished / "run", images, tmp_path / "whole", wanted=TABLE
  )
  out = tmp_path / "parts"
  run = finished / "run"
  for number in (3, 1):
    prediction.predict(run, images, out, shard=f"{number}/3", wanted=TABLE)
  with pytest.raises(UserError, match="holds 2 tables of 3 shards; run 2/3"):
    prediction.merge(out)
  prediction.predict(run, images, out, shard="2/3", wanted=TABLE)
  merged = prediction.merge(out)
  assert table(merged) == table(whole)
  assert list(table(merged)) == list(table(whole))


def test_a_killed_run_goes_on(finished, images, tmp_path):
  out = tmp_path / "out"
  path = prediction.predict(finished / "run", images, out, wanted=TABLE)
  whole = path.read_bytes()
  lines = whole.splitlines(keepends=True)
  path.write_bytes(b"".join(lines[:6]) + lines[6][:5])
  prediction.predict(finished / "run", images, out, wanted=TABLE)
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
    prediction.predict(finished / "run", images, tmp_path, wanted=TABLE)


def test_rows_of_two_runs_are_not_mixed(finished, images, tmp_path):
  run, out = finished / "run", tmp_path / "out"
  prediction.predict(run, images / "sub", out, wanted=TABLE)
  with pytest.raises(
    UserError, match=r"scores.csv is of the run .* another --"
  ):
    prediction.predict(run, images, out, wanted=TABLE)


def test_shards_of_two_runs_are_not_joined(finished, images, tmp_path):
  run, out = finished / "run", tmp_path / "out"
  prediction.predict(run, images, out, shard="1/2", wanted=TABLE)
  prediction.predict(run, images / "sub", out, shard="2/2", wanted=TABLE)
  with pytest.raises(UserError, match="are of several runs or folders"):
    prediction.merge(out)


def test_a_page_shows_the_whole(finished, images, tmp_path):
  out = tmp_path / "out"
  prediction.predict(finished / "run", images, out)
  said = outcome.tell(out, normal=True)
  assert said.startswith("12 images have scores, of which ")
  assert "1 has none" in said and "rift" in said
  page = (out / "report.html").read_text()
  assert "broken.png" in page and "sub/ü 日本.png" in page
  assert page.count("data:image/png") == 13  # one is the histogram
  assert "c,&quot;d&quot;.png" in page
  assert "no more than the asked share of normal images exceeds" in page


def test_weights_that_are_not_the_official_ones_are_told(
  finished, images, tmp_path
):
  run, out = tmp_path / "run", tmp_path / "out"
  shutil.copytree(finished / "run", run)
  prediction.predict(run, images / "sub", out, wanted=TABLE)
  assert "official" not in outcome.tell(out)
  (run / "weights.json").write_text('{"vgg19": "random"}')
  said = "Pretrained weights are not the official ones: vgg19 random."
  assert said in outcome.tell(out)
  assert said in (out / "report.html").read_text()


def test_a_merged_table_has_its_page(finished, images, tmp_path):
  for part in ("1/2", "2/2"):
    prediction.predict(
      finished / "run", images, tmp_path, shard=part, wanted=TABLE
    )
  prediction.merge(tmp_path)
  assert "No drift" in outcome.tell(tmp_path, normal=True) or (
    "DRIFT" in outcome.tell(tmp_path, normal=True)
  )
  assert "No overlays were drawn" in (tmp_path / "report.html").read_text()


def test_slices_and_secondary_captures(finished, tmp_path):
  pydicom = pytest.importorskip("pydicom")
  folder = tmp_path / "images"
  folder.mkdir()
  pictures = tiny.images(3, 4)[..., 0]
  sources.nifti_file(folder / "v.nii", pictures.T.astype(np.int16).copy())
  scans_test.write_dicom(
    folder / "x.dcm",
    pictures[0].astype(np.uint16),
    PatientID="P7",
    StudyInstanceUID="1.2.3",
  )
  out = tmp_path / "out"
  wanted = prediction.Wanted(captures=True)
  found = table(
    prediction.predict(finished / "run", folder, out, wanted=wanted)
  )
  assert list(found) == ["v.nii#0", "v.nii#1", "v.nii#2", "x.dcm"]
  assert found["v.nii#1"]["patient"] == "v.nii"
  made = pydicom.dcmread(out / "dicom" / "x.dcm.dcm")
  assert made.SOPClassUID.name == "Secondary Capture Image Storage"
  assert (made.PatientID, made.StudyInstanceUID) == ("P7", "1.2.3")
  drawn = pixels(out / "overlays" / "x.dcm.png")
  np.testing.assert_array_equal(made.pixel_array, drawn)
  assert found["x.dcm"]["score"] in made.ImageComments


def test_names_and_patients_are_no_formulas(finished, tmp_path):
  names = ["+x.dcm", "-1.png", "=cmd.png", "@a.png"]
  folder, run = tmp_path / "images", finished / "run"
  folder.mkdir()
  pictures = tiny.images(4, 4)[..., 0]
  for name, picture in zip(names, pictures, strict=True):
    if name.endswith(".png"):
      Image.fromarray(picture).save(folder / name)
  scans_test.write_dicom(
    folder / names[0], pictures[0].astype(np.uint16), PatientID="=1+1"
  )
  for part in ("1/2", "2/2"):
    prediction.predict(run, folder, tmp_path / "out", shard=part, wanted=TABLE)
  path = prediction.merge(tmp_path / "out")
  found = table(path)
  # As paths they are the same files, and in the order of the folder.
  assert list(found) == [f"./{name}" for name in names]
  assert [folder / name for name in found] == [folder / name for name in names]
  assert found["./+x.dcm"]["patient"] == "'=1+1"
  assert [row[:2] for row in prediction.rows(path)] == [
    [name, "=1+1" * (name == names[0])] for name in names
  ]
  outcome.tell(tmp_path / "out")
  assert "./=cmd" not in (tmp_path / "out" / "report.html").read_text()
  # Shards see their finished rows, and so does a run that goes on.
  whole = path.read_bytes()
  prediction.predict(run, folder, tmp_path / "out", wanted=TABLE)
  assert path.read_bytes() == whole
