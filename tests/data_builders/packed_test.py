"""CIFAR-10 and SVHN: what their files hold, and what is wrong with others."""

import hashlib
import pickle

import numpy as np
import pytest

from data_builders import build
from data_builders.cifar10 import builder as cifar10
from medad_jax.data import joint, spec
from medad_jax.types import UserError
from tests.data_builders import sources

NAMES = sorted(sources.PACKED)


def opened(name, data_dir, **options):
  settings = {"image_size": 32, "channels": 3, "need": ("train", "test")}
  return joint.open_sets(name, data_dir, **(settings | options))


@pytest.mark.parametrize("name", NAMES)
def test_pixels_and_classes_are_the_sources(name, tmp_path):
  source = sources.make(name, tmp_path / "source")
  build.build(name, source=source, data_dir=tmp_path)
  found = spec.open_dataset(
    name, tmp_path, image_size=32, channels=3, need=("train", "test")
  )
  parts = {
    "cifar10": {"train": [(seed, 4) for seed in range(5)], "test": [(5, 12)]},
    "svhn": {"train": [(0, 20)], "test": [(1, 12)]},
  }[name]
  for split, seeds in parts.items():
    pixels, classes = (
      np.concatenate(values)
      for values in zip(*(sources.packed(*s) for s in seeds), strict=True)
    )
    np.testing.assert_array_equal(found.splits[split].images, pixels)
    assert found.splits[split].columns["class"] == tuple(map(str, classes))


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_normal(name, tmp_path):
  source = sources.make(name, tmp_path / "source")
  build.build(name, source=source, data_dir=tmp_path)
  found = opened(f"{name}:1", tmp_path)
  classes = found.splits["test"].columns["class"]
  assert found.splits["test"].labels.tolist() == [c != "1" for c in classes]
  assert set(found.splits["train"].columns["class"]) == {"1"}
  with pytest.raises(UserError, match="'10'.*classes 0, 1, 2, 3"):
    opened(f"{name}:10", tmp_path)
  with pytest.raises(UserError, match=f"data.name={name}:0"):
    opened(name, tmp_path)


def pickled(folder):
  """The Python version, of the same images as `sources.cifar10`."""
  binary = sources.cifar10(folder.parent / "binary")
  folder.mkdir()
  for path in binary.iterdir():
    rows = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073)
    content = {b"data": rows[:, 1:], b"labels": rows[:, 0].tolist()}
    (folder / path.stem).write_bytes(pickle.dumps(content, protocol=2))
  return binary, folder


def test_pickles_are_opened_when_they_are_the_official_ones(
  tmp_path, monkeypatch
):
  binary, folder = pickled(tmp_path / "python")
  with pytest.raises(UserError, match="6 of 6 files.*another MD5 sum"):
    cifar10.Builder(source=folder, data_dir="/nowhere")
  sums = {
    path.name: hashlib.md5(path.read_bytes()).hexdigest()
    for path in folder.iterdir()
  }
  monkeypatch.setattr(cifar10, "MD5", sums)
  other = cifar10.Builder(source=binary, data_dir="/nowhere").read()
  made = cifar10.Builder(source=folder, data_dir="/nowhere").read()
  for split, part in made.items():
    for found, wanted in zip(part, other[split], strict=True):
      np.testing.assert_array_equal(found, wanted)


def test_a_pickle_that_does_something_is_not_run(tmp_path):
  _, folder = pickled(tmp_path / "python")

  class Trap:
    def __reduce__(self):
      return (tmp_path.joinpath("ran").touch, ())

  (folder / "data_batch_2").write_bytes(pickle.dumps(Trap()))
  with pytest.raises(UserError, match="MD5"):
    cifar10.Builder(source=folder, data_dir="/nowhere").find()
  assert not (tmp_path / "ran").exists()


def cut(path):
  path.write_bytes(path.read_bytes()[:-9])


def damage(path):
  content = bytearray(path.read_bytes())
  content[128:] = bytes(len(content) - 128)
  path.write_bytes(content)


def strange(path):
  content = bytearray(path.read_bytes())
  content[0] = 77
  path.write_bytes(content)


@pytest.mark.parametrize(
  ("name", "file", "change", "says"),
  [
    ("cifar10", "data_batch_3.bin", cut, "1 of 6 .*\n.*data_batch_3.bin"),
    ("cifar10", "test_batch.bin", strange, r"classes \[77\] in test"),
    ("cifar10", "test_batch.bin", lambda p: p.unlink(), "lacks test_batch.bin"),
    ("cifar10", "data_batch_1.bin", lambda p: p.write_bytes(b""), None),
    ("svhn", "test_32x32.mat", cut, "test_32x32.mat is not the published"),
    (
      "svhn",
      "train_32x32.mat",
      damage,
      "train_32x32.mat is not the published",
    ),
    ("svhn", "train_32x32.mat", lambda p: p.unlink(), "lacks train_32x32.mat"),
  ],
)
def test_damaged_files_are_one_sentence(name, file, change, says, tmp_path):
  source = sources.make(name, tmp_path / "source")
  change(source / file)
  if says is None:  # four images fewer, which the counts tell
    build.build(name, source=source, data_dir=tmp_path)
    return
  with pytest.raises(UserError, match=says):
    build.build(name, source=source, data_dir=tmp_path)
  assert not (tmp_path / name).exists()
