"""Training on a folder of normal images, from files to predictions."""

import csv

import numpy as np
from PIL import Image
import pytest

from medad_jax.data import decode, folder
from medad_jax.engine import config as configuration
from medad_jax.engine import experiment, prediction
from medad_jax.types import UserError
from tests import tiny
from tests.methods import contract_test as contract

FRAME = decode.Frame(16, 1)


@pytest.fixture
def normals(tmp_path):
  """24 gray images, one of 16 bits, one in color, and one that is broken."""
  where = tmp_path / "normals"
  (where / "inner").mkdir(parents=True)
  for k, image in enumerate(tiny.images(24)[..., 0]):
    Image.fromarray(image).save(where / "inner" / f"{k:02d}.png")
  deep = tiny.images(1, 5)[0, ..., 0].astype(np.uint16) * 200
  Image.fromarray(deep).save(where / "deep.png")
  Image.fromarray(tiny.images(1, 6, (16, 16, 3))[0]).save(where / "color.jpg")
  (where / "broken.png").write_bytes(b"none")
  return where


def run(normals, workdir, **fields):
  settings = {
    "data.normal": str(normals),
    "data.dir": str(workdir.parent / "data"),
    "data.image_size": 16,
    "validation.share": 0.2,
    "evaluation.batch_size": 8,
  }
  config = configuration.with_hyper(
    contract.small_config("patchcore"), settings | fields
  )
  return experiment.train_and_evaluate(config, workdir)


def test_a_folder_is_trained_on_and_new_images_are_scored(
  normals, tmp_path, capsys
):
  assert run(normals, tmp_path / "run") is None
  said = capsys.readouterr().out
  assert "26 normal images in" in said and "broken.png: Unid" in said
  assert "color becomes gray: set data.channels=3" in said
  assert "bits: 8 (25), 16 (1)" in said
  # Five are held out, and 5 % need 19: refused, and the run goes on.
  assert "No threshold: at most 0.05 false alarms need 19 held-out" in said
  assert "python -m medad_jax.predict --workdir=" in said
  with pytest.raises(UserError, match="without test images; score a folder"):
    experiment.evaluate_run(tmp_path / "run")
  out = tmp_path / "out"
  path = prediction.predict(tmp_path / "run", normals / "inner", out)
  with path.open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["file"] for row in rows] == [f"{k:02d}.png" for k in range(24)]
  assert all(row["p_value"] and row["flag"] == "" for row in rows)
  assert len(list((out / "overlays").iterdir())) == 24


def test_a_threshold_where_there_are_enough(normals, tmp_path, capsys):
  run(normals, tmp_path / "run", **{"evaluation.false_alarms": 0.25})
  said = capsys.readouterr().out
  assert "from 5 held-out normal images: at most 25.0% false alarms" in said
  assert "On the test set" not in said


def test_a_folder_is_read_once(normals, tmp_path, capsys):
  first = folder.open_folder(normals, str(tmp_path / "data"), FRAME)
  capsys.readouterr()
  again = folder.open_folder(normals, str(tmp_path / "data"), FRAME)
  assert "26 images of" in capsys.readouterr().out
  assert again.fingerprint == first.fingerprint
  np.testing.assert_array_equal(
    first.splits["train"].images, again.splits["train"].images
  )
  Image.new("L", (9, 9)).save(normals / "new.png")
  more = folder.open_folder(normals, str(tmp_path / "data"), FRAME)
  assert more.fingerprint != first.fingerprint
  assert more.counts == {"train": 27}


def test_copies_are_counted(normals, tmp_path, capsys):
  (normals / "copy.png").write_bytes((normals / "inner/03.png").read_bytes())
  folder.open_folder(normals, str(tmp_path / "data"), FRAME)
  assert "1 images are pixel for pixel copies" in capsys.readouterr().out


def test_folders_that_cannot_be_trained_on_are_told(tmp_path):
  one = tmp_path / "one"
  one.mkdir()
  with pytest.raises(UserError, match="there are no images in"):
    folder.open_folder(one, str(tmp_path), FRAME)
  (one / "x.png").write_bytes(b"")
  with pytest.raises(UserError, match=r"can be read \(x.png: Un"):
    folder.open_folder(one, str(tmp_path), FRAME)
  (one / "Abnormal").mkdir()
  Image.new("L", (9, 9)).save(one / "Abnormal" / "y.png")
  with pytest.raises(UserError, match="has folders called Abnormal; give the"):
    folder.open_folder(one, str(tmp_path), FRAME)


def test_one_image_is_too_few(tmp_path):
  (tmp_path / "one").mkdir()
  Image.new("L", (16, 16)).save(tmp_path / "one" / "x.png")
  with pytest.raises(UserError, match="1 normal images .*give 5 or more"):
    run(tmp_path / "one", tmp_path / "run")


def test_methods_that_want_more_than_normal_images_are_told(normals, tmp_path):
  config = configuration.with_hyper(
    contract.small_config("ddad"),
    {"data.normal": str(normals), "data.image_size": 16},
  )
  with pytest.raises(UserError, match="trains on unlabelled_abnormal, unlab"):
    experiment.train_and_evaluate(config, tmp_path / "run")
