"""Training on a folder of normal images, from files to predictions."""

import csv

import numpy as np
from PIL import Image
import pytest

from medad_jax.data import decode, folder, manifest
from medad_jax.engine import config as configuration
from medad_jax.engine import (
  experiment,
  material,
  opening,
  outcome,
  prediction,
  trained,
)
from medad_jax.engine.settings import Data
from medad_jax.types import UserError
from tests import tiny
from tests.data_builders import sources
from tests.methods import contract_test as contract

FRAME = decode.Frame(16, 1)
COMMON = {
  "data.image_size": 16,
  "validation.share": 0.2,
  "evaluation.batch_size": 8,
}


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


def opened(normals, data, unlabelled=None):
  entries = manifest.of_folders(normals, unlabelled)
  return folder.open_folder(normals, entries, str(data), FRAME)


def run(normals, workdir, **fields):
  settings = {
    **COMMON,
    "data.normal": str(normals),
    "data.dir": str(workdir.parent / "data"),
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
  assert "26 normal images in" in said and "broken.png: it is damaged" in said
  assert "color becomes gray: set data.channels=3" in said
  assert "bits: 8 (25), 16 (1)" in said
  # Five are held out, and 5 % need 19: refused, and the run goes on.
  assert "No threshold: at most 5 % false alarms need 19 held-out" in said
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
  outcome.tell(out)
  page = (out / "report.html").read_text()
  assert "exceeds the largest value of all held-out normal images" in page


def test_a_folder_is_read_once(normals, tmp_path, capsys):
  first = opened(normals, tmp_path / "data")
  capsys.readouterr()
  again = opened(normals, tmp_path / "data")
  assert "as read before: train (26)" in capsys.readouterr().out
  assert again.fingerprint == first.fingerprint
  np.testing.assert_array_equal(
    first.splits["train"].images, again.splits["train"].images
  )
  Image.fromarray(tiny.images(1, 9)[0, ..., 0]).save(normals / "new.png")
  more = opened(normals, tmp_path / "data")
  assert more.fingerprint != first.fingerprint
  assert more.counts == {"train": 27}


def test_every_folder_is_named_by_its_own_images(normals, tmp_path, capsys):
  other = tmp_path / "new ones"
  other.mkdir()
  Image.fromarray(tiny.images(1, 9)[0, ..., 0]).save(other / "x.png")
  opened(normals, tmp_path / "data", other)
  said = capsys.readouterr().out
  assert f"26 normal images in {normals}\n" in said
  assert f"1 unlabelled image in {other}\n" in said


def test_copies_are_counted(normals, tmp_path, capsys):
  (normals / "copy.png").write_bytes((normals / "inner/03.png").read_bytes())
  opened(normals, tmp_path / "data")
  assert "pixel for pixel copies of another image: 1" in capsys.readouterr().out


def test_near_duplicates_are_told_with_what_they_mean(
  normals, tmp_path, capsys
):
  opened(normals, tmp_path / "data")
  assert "nearly the same" not in capsys.readouterr().out
  with Image.open(normals / "inner/03.png") as picture:
    darker = Image.fromarray(np.asarray(picture) // 2)
  darker.save(normals / "inner/near.png")
  opened(normals, tmp_path / "data")
  said = capsys.readouterr().out
  assert "nearly the same image: inner/03.png and inner/near.png\n" in said
  assert "name patients in a list for data.manifest" in said


def test_folders_that_cannot_be_trained_on_are_told(tmp_path):
  one = tmp_path / "one"
  one.mkdir()
  with pytest.raises(UserError, match="there are no images in"):
    opened(one, tmp_path)
  (one / "x.png").write_bytes(b"")
  with pytest.raises(UserError, match=r"can be read \(x.png: it is"):
    opened(one, tmp_path)
  (one / "Abnormal").mkdir()
  Image.new("L", (9, 9)).save(one / "Abnormal" / "y.png")
  with pytest.raises(UserError, match="has folders called Abnormal; give the"):
    opened(one, tmp_path)


def test_a_folder_that_was_not_named_is_asked_for(tmp_path):
  data = Data(name="folder", dir=str(tmp_path))
  with pytest.raises(UserError, match="images with --config.data.normal=DIR"):
    opening.open_data(data, ("train",))


def test_one_image_is_too_few(tmp_path):
  (tmp_path / "one").mkdir()
  Image.fromarray(tiny.images(1)[0, ..., 0]).save(tmp_path / "one" / "x.png")
  with pytest.raises(UserError, match="train on, 1: .*standard.*give more"):
    run(tmp_path / "one", tmp_path / "run")


def test_methods_that_want_more_than_normal_images_are_told(normals, tmp_path):
  config = configuration.with_hyper(
    contract.small_config("ddad"),
    {"data.normal": str(normals), "data.image_size": 16},
  )
  with pytest.raises(UserError, match="trains on the images unlabelled_abn"):
    experiment.train_and_evaluate(config, tmp_path / "run")


def save(folder, count, seed):
  folder.mkdir(parents=True)
  for k, image in enumerate(tiny.images(count, seed)[..., 0]):
    Image.fromarray(image).save(folder / f"{k:02d}.png")


def test_images_of_which_nothing_is_known_are_the_second_pool(
  normals, tmp_path
):
  save(tmp_path / "unknown", 20, 7)
  config = configuration.with_hyper(
    contract.small_config("ddad"),
    {
      "data.normal": str(normals),
      "data.unlabelled": str(tmp_path / "unknown"),
      "data.dir": str(tmp_path / "data"),
      "data.image_size": 16,
      "data.extra": 0,
      "data.anomaly_ratio": None,
      "validation.share": 0.2,
    },
  )
  settings = configuration.settings_of(config)
  stages = trained.stages_of(settings, configuration.build_method(config))
  found = material.prepare(settings, stages, tiny.devices())
  held, mixed = found.pools["held_out"], found.pools["mixed"]
  assert len(held) == 5 and not set(held) & set(mixed)
  assert len(mixed) == 21 + 20 and len(found.pools["normal"]) == 21
  assert found.dataset.splits["unlabelled"].labels.tolist() == [-1] * 20


def test_unlabelled_images_are_not_taken_for_nothing(normals, tmp_path):
  with pytest.raises(UserError, match="trains on normal images alone"):
    run(normals, tmp_path / "run", **{"data.unlabelled": str(normals)})


@pytest.fixture
def listed(normals, tmp_path):
  """The images of a list: 24 that train, 16 with labels, patients, sites."""
  save(tmp_path / "test", 16, 8)
  Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
  rows = ["file,label,patient,split,mask,site"]
  for k in range(24):
    rows.append(f"normals/inner/{k:02d}.png,,p{k},,,north")
  for k in range(16):
    mask = "mask.png" if k % 2 else ""
    site = ("north", "south")[k // 8]
    rows.append(f"test/{k:02d}.png,{k % 2},q{k},test,{mask},{site}")
  (tmp_path / "list.csv").write_text("\n".join(rows))
  return tmp_path / "list.csv"


def test_a_list_with_labels_is_evaluated_by_site(listed, tmp_path, capsys):
  fields = {
    "data.manifest": str(listed),
    "evaluation.false_alarms": 0.25,
    "evaluation.prevalence": 0.1,
  }
  config = configuration.with_hyper(
    contract.small_config("ae"), {**COMMON, **fields, "data.dir": str(tmp_path)}
  )
  found = experiment.train_and_evaluate(config, tmp_path / "run")
  assert found.main.scores["rec"].pixels is not None
  operating = found.operating
  assert set(operating["groups"]["site"]) == {"north", "south"}
  assert operating["groups"]["site"]["south"]["n_normal"] == 4
  assert operating["ppv"]["ci"][0] <= operating["ppv"]["ci"][1]
  assert set(operating["sensitivity_at_specificity"]) == {"0.9", "0.95", "0.99"}
  said = capsys.readouterr().out
  assert "labels: 8 normal, 8 abnormal" in said
  assert "from 5 held-out normal images of 5 patients" in said
  # A list is known by its training images, too, which are not read again.
  experiment.evaluate_run(tmp_path / "run", out=tmp_path / "again")
  assert "as read before: train (24), test (16)" in capsys.readouterr().out
  scores = (tmp_path / "run" / "scores.csv").read_bytes()
  assert (tmp_path / "again" / "scores.csv").read_bytes() == scores
  # The same files, as a folder: the same bits.
  path = prediction.predict(
    tmp_path / "run", tmp_path / "test", tmp_path / "out"
  )
  with path.open(newline="") as file:
    again = [row["score"] for row in csv.DictReader(file)]
  with (tmp_path / "run" / "scores.csv").open(newline="") as file:
    assert [row["rec"] for row in csv.DictReader(file)] == again


def test_patients_whom_all_files_share_are_ignored(tmp_path, capsys):
  from tests.data import scans_test

  (tmp_path / "dicom").mkdir()
  for k, image in enumerate(tiny.images(6)[..., 0].astype(np.uint16)):
    scans_test.write_dicom(tmp_path / f"dicom/{k}.dcm", image, PatientID="ANON")
  found = opened(tmp_path / "dicom", tmp_path / "data")
  assert "all files state the same one, which is ignored" in (
    capsys.readouterr().out
  )
  assert "patient" not in found.splits["train"].columns


def test_slices_of_volumes_are_images_of_their_volume(tmp_path, capsys):
  volume = np.zeros((16, 16, 8), np.int16)
  volume[..., 2:] = tiny.images(6)[..., 0].transpose(1, 2, 0)
  for name in ("a", "b"):
    (tmp_path / "scans" / name).mkdir(parents=True)
    sources.nifti_file(tmp_path / "scans" / name / "t1.nii.gz", volume)
  split = opened(tmp_path / "scans", tmp_path / "data").splits["train"]
  assert split.names[0] == "a/t1.nii.gz#2" and len(split) == 12
  assert set(split.columns["patient"]) == {"a/t1.nii.gz", "b/t1.nii.gz"}
  assert "4 empty slices are left out" in capsys.readouterr().out
