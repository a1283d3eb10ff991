"""Files and patients in two splits are named; two labels are refused."""

import json
import shutil

import pytest

from data_builders import build, leaks
from medad_jax.types import UserError
from tests.data_builders import sources

FOLDERS = ("train/normal", "unlabelled/normal", "test/normal")


def make(builder, source):
  return build.build(
    builder, source=source, data_dir=source.parent / "data", name="mine"
  )


def warnings(capsys):
  return capsys.readouterr().err


@pytest.mark.parametrize("earlier", ["train/normal", "unlabelled/normal"])
def test_copies_in_two_splits_are_named(earlier, tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  shutil.copy(source / earlier / "0.png", source / "test/normal/copy.png")
  make("folder", source)
  split = {"train/normal": "train"}.get(earlier, "unlabelled_normal")
  error = warnings(capsys)
  assert (
    f"images of test that are byte-identical to images of {split}: 1" in error
  )
  assert f"  test/normal/copy.png = {earlier}/0.png" in error.splitlines()
  assert error.count("byte-identical") == 1


def test_copies_in_a_list_are_named(tmp_path, capsys):
  source = sources.image_list(tmp_path / "source")
  lists = json.loads((source / "data.json").read_text())
  known, tested = lists["train"]["0"][0], lists["test"]["0"][0]
  shutil.copy(source / "images" / known, source / "images" / tested)
  make("rsna", source)
  assert f"  {tested} = {known}" in warnings(capsys).splitlines()


@pytest.mark.parametrize(
  ("one", "other"),
  [
    ("train/normal", "test/abnormal"),
    ("test/normal", "test/abnormal"),
    ("unlabelled/normal", "unlabelled/abnormal"),
  ],
)
def test_one_file_under_both_labels_is_refused(one, other, tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.copy(source / one / "0.png", source / other / "0.png")
  with pytest.raises(
    UserError, match="1 byte-identical files are under both"
  ) as error:
    make("folder", source)
  assert f"  {one}/0.png (" in str(error.value)
  assert f"= {other}/0.png (" in str(error.value)
  assert not (tmp_path / "data/mine").exists()


def test_a_label_conflict_is_found_among_files_known_as_sound(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.copy(source / "train/normal/0.png", source / "test/abnormal/0.png")
  for _ in range(2):  # the second time, all files are noted in the journal
    with pytest.raises(UserError, match="both labels"):
      make("folder", source)


def test_copies_within_a_split_are_no_leak(tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  shutil.copy(source / "train/normal/0.png", source / "train/normal/7.png")
  make("folder", source)
  assert warnings(capsys) == ""


@pytest.mark.parametrize(
  "name",
  [
    "patient12_{}.png",
    "patient 12/view {}.png",
    "sub-12_ses-{}.png",
    "case_12-slice_{}.png",
    "P12_{}.png",
    "TCGA_CS_4941_19960909_{}.png",
    "BraTS2021_00012_flair_{}.png",
    "BraTS-GLI-00012-000_{}.png",
    "CNV-1016042-{}.png",
    "00000013_00{}.png",
    "HASHED00412-z{}.png",
  ],
)
def test_one_patient_in_train_and_test_is_named(name, tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  for i, folder in enumerate(FOLDERS):
    path = source / folder / name.format(i)
    path.parent.mkdir(exist_ok=True)
    sources.image(70 + i).save(path)
  make("folder", source)
  error = warnings(capsys)
  for split in ("train", "unlabelled_normal"):
    assert f"patients with images in {split} and in test" in error
  who = leaks.patient(name.format(0))
  assert f"  {who}" in error.splitlines()


def test_one_patient_in_train_only_is_no_leak(tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  for i in range(3):
    sources.image(70 + i).save(source / f"train/normal/patient1_{i}.png")
    sources.image(80 + i).save(source / f"test/normal/patient2_{i}.png")
  make("folder", source)
  assert warnings(capsys) == ""


@pytest.mark.parametrize(
  "name",
  [
    "0.png",
    "img_001.png",
    "scan_00012.png",
    "ISIC_0024306.jpg",
    "Te-noTr_0001.jpg",
    "0005e8e3701dfb1dd93d53e2ff537b6e.png",
    "0892a3a9-1345-42b3-8412-b930fd9066e5.png",
    "2019-novel-Coronavirus-p3-89%0.png",
    "subset/12.png",
    "showcase.png",
  ],
)
def test_names_that_tell_no_patient(name):
  assert leaks.patient(name) is None
