"""Folds of built sets: what they hold, and what they must not."""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from data_builders import dpa_lists, folding, published_folds
from data_builders import folds as command
from medad_jax.data import cache, folds
from medad_jax.types import UserError
from tests import tiny

GOLDEN = Path(__file__).parents[1] / "golden" / "data_folds.npz"
SIDE = 16


def write_set(root, name, images, columns=None, channels=1):
  """A built set, as its cache alone; images and columns by split."""
  place = cache.Cache(root / "cache" / name / f"{SIDE}x{channels}")
  facts = {
    "counts": {split: len(own) for split, own in images.items()},
    "fingerprints": {split: f"{name}/{split}" for split in images},
  }
  for split, own in images.items():
    stored = {
      "images": own,
      "labels": np.full(len(own), int(split.endswith("abnormal")), np.int32),
      "masks": None,
      "names": tuple(f"{split}/{n:05}" for n in range(len(own))),
      "columns": (columns or {}).get(split, {}),
    }
    place.store(split, facts, stored)


def texts(*counts):
  """A text for each image: so many of "0", so many of "1" and so on."""
  return tuple(str(n) for n, count in enumerate(counts) for _ in range(count))


@pytest.fixture
def root(tmp_path):
  images = {
    "train": tiny.images(30, 0),
    "unlabelled_abnormal": tiny.images(12, 1),
    "test": tiny.images(10, 2),
  }
  columns = {
    "train": {"patient": texts(*(3,) * 10), "finding": ("",) * 30},
    "unlabelled_abnormal": {
      "patient": texts(*(2,) * 6),
      "finding": texts(6, 6),
    },
    "test": {"patient": texts(10), "finding": texts(10)},
  }
  write_set(tmp_path, "some", images, columns)
  return tmp_path


def make(root, name="some", count=3, **options):
  return folding.make(
    name, count, data_dir=str(root), image_size=SIDE, **options
  )


def test_folds_divide_the_normal_images_and_keep_patients_together(root):
  found = make(root, by="patient")
  assert sorted(np.concatenate([f.normal for f in found.folds])) == list(
    range(30)
  )
  few = np.concatenate([f.anomalies for f in found.folds])
  assert sorted(few) == list(range(12))
  for one in found.folds:
    parts = (one.train, one.validation, one.normal)
    assert sorted(np.concatenate(parts)) == list(range(30))
    patients = [set(rows // 3) for rows in parts]
    assert not patients[0] & patients[1] and not patients[0] & patients[2]
    assert len(one.validation) >= 0.2 * (30 - len(one.normal))
  again = make(root, by="patient")
  assert [f.train.tolist() for f in again.folds] == [
    f.train.tolist() for f in found.folds
  ]


def test_anomalies_are_of_one_finding(root):
  found = make(root, count=2, anomalies="finding=1", most=2)
  for one in found.folds:
    assert set(one.anomalies) <= set(range(6, 12)) and len(one.anomalies) == 2


def test_a_class_is_normal_and_another_one_the_anomalies(tmp_path):
  images = {"train": tiny.images(30, 0), "test": tiny.images(4, 2)}
  write_set(tmp_path, "ten", images, {"train": {"class": texts(12, 9, 9)}})
  found = make(tmp_path, "ten:0", anomalies="class=2")
  for one in found.folds:
    assert max(one.train) < 12 and max(one.normal) < 12
    assert min(one.anomalies) >= 21
  assert found.splits == ("train",)
  assert make(tmp_path, "ten:2").origin.split(", ")[1] == "anomalies class=0"
  arguments = ["ten", "--by=class", f"--data_dir={tmp_path}"]
  assert command.main([*arguments, f"--image_size={SIDE}"]) == 0
  written = sorted(path.name for path in (tmp_path / "ten").iterdir())
  assert written == ["folds_0.json", "folds_1.json", "folds_2.json"]
  with pytest.raises(UserError, match="names the class '10', and ten has"):
    make(tmp_path, "ten:10")


def test_a_folder_gives_the_anomalies_unless_they_are_test_images(root):
  folder = root / "few"
  folder.mkdir()
  for n, image in enumerate(tiny.images(4, 7)):
    Image.fromarray(image[..., 0]).save(folder / f"{n}.png")
  found = make(root, count=2, anomalies=str(folder))
  assert found.source == str(folder) and found.splits == ("train",)
  assert found.files == ("0.png", "1.png", "2.png", "3.png")
  Image.fromarray(tiny.images(10, 2)[3][..., 0]).save(folder / "copy.png")
  with pytest.raises(UserError, match="1 of 5 images .* are test images"):
    make(root, count=2, anomalies=str(folder))


def test_copies_of_test_images_are_left_out(tmp_path, capsys):
  train = tiny.images(12, 0)
  test = np.concatenate([tiny.images(4, 2), train[5:6]])
  images = {"train": train, "unlabelled_abnormal": tiny.images(6, 1)}
  write_set(tmp_path, "leaky", {**images, "test": test})
  for one in make(tmp_path, "leaky").folds:
    assert 5 not in np.concatenate([one.train, one.validation, one.normal])
  assert (
    "1 images of leaky are copies of test images" in capsys.readouterr().out
  )


@pytest.mark.parametrize(
  ("options", "says"),
  [
    ({"count": 1}, "set it to 2 folds or more"),
    ({"count": 7, "by": "patient"}, "12 anomalies make 6 groups by patient"),
    ({"by": "slide"}, "--by=slide names no column of the set; it has finding"),
    ({"anomalies": "finding=9"}, "no anomalies outside its test set with"),
    ({"anomalies": "nowhere"}, "is no folder"),
  ],
)
def test_what_makes_no_folds_is_one_sentence(root, options, says):
  with pytest.raises(UserError, match=says):
    make(root, **options)


def test_the_command_does_not_overwrite(root, capsys):
  arguments = ["some", "-n", "2", f"--data_dir={root}", f"--image_size={SIDE}"]
  assert command.main(arguments) == 0
  assert folds.read(folds.path_of(root, "some")).name == "some"
  assert command.main(arguments) == 2
  assert "add --overwrite" in capsys.readouterr().err
  assert command.main([*arguments, "--overwrite"]) == 0


def test_the_published_lists_are_those_of_the_authors():
  wanted = json.loads(str(np.load(GOLDEN)["digests"]))
  for path, facts in wanted["text"].items():
    lines = dpa_lists.lines(path)
    text = "".join(f"{line}\n" for line in lines)
    assert len(lines) == facts["n"]
    assert hashlib.sha256(text.encode()).hexdigest() == facts["sha256_lines"]
  parts = ("train", "val", "test_normal", "test_anomaly")
  for path, facts in wanted["npy"].items():
    name, normal, number, part = path.split("/")
    rows = dpa_lists.fold(name, normal, int(number))[parts.index(part)]
    digest = hashlib.sha256(np.array(rows, "<i8").tobytes()).hexdigest()
    assert digest == facts["sha256_int64"]


def test_published_folds_number_the_official_images(tmp_path):
  """The lists name the class of every training image, as rows check it."""
  classes = np.full(50_000, -1)
  for normal in range(10):
    for number in range(3):
      one = dpa_lists.fold("cifar10", str(normal), number)
      classes[one.normal] = normal
  assert classes.min() == 0
  blank = np.zeros((50_000, SIDE, SIDE, 1), np.uint8)
  images = {"train": blank, "test": blank[:1]}
  columns = {"train": {"class": tuple(map(str, classes))}}
  write_set(tmp_path, "cifar10", images, columns)
  options = {"data_dir": str(tmp_path), "image_size": SIDE}
  found = published_folds.published("cifar10:3", **options)
  assert found.origin == "published" and len(found.folds) == 3
  assert (classes[found.folds[1].anomalies] == 0).all()
  shuffled = {"train": {"class": tuple(map(str, classes[::-1]))}}
  write_set(tmp_path, "svhn", images, shuffled)
  with pytest.raises(UserError, match="build it from the official files"):
    published_folds.published("svhn:3", **options)


def test_overlap_inside_published_folds_is_named_and_made_anew(
  tmp_path, capsys
):
  one = dpa_lists.fold("nih_subset", None, 0)
  names = sorted({*one.train, *one.validation, *one.normal})[::10]
  images = {
    "train": tiny.images(len(names), 0),
    "unlabelled_abnormal": tiny.images(9, 1),
    "test": tiny.images(4, 2),
  }
  write_set(
    tmp_path,
    "nih_subset",
    images,
    {
      "train": {
        "patient": tuple(name.split("_")[0] for name in names),
        "finding": ("",) * len(names),
      },
      "unlabelled_abnormal": {
        "patient": texts(*(1,) * 9),
        "finding": ("Infiltration",) * 6 + ("Mass",) * 3,
      },
    },
  )
  options = {"data_dir": str(tmp_path), "image_size": SIDE}
  with pytest.raises(UserError, match="of the published folds are not in"):
    published_folds.published("nih_subset", **options)
  assert "fold 0 tests 849 images" in capsys.readouterr().out
  found = published_folds.published("nih_subset", "fixed", **options)
  for fold in found.folds:
    assert not {*fold.train, *fold.validation} & {*fold.normal}
    assert max(fold.anomalies) < 6
  with pytest.raises(UserError, match="no folds were published of some"):
    published_folds.published("some", **options)
