"""Built sets, read by TFDS alone."""

import io
import json
from pathlib import Path
import tempfile

import numpy as np
from PIL import Image
import pytest
import tensorflow_datasets as tfds

from data_builders import build
from medad_jax.data import spec
from tests.data_builders import sources

BUILDERS = build.builder_names()


def opened(folder):
  return tfds.builder_from_directory(folder)


def encoded(reader, split):
  raw = tfds.decode.SkipDecoding()
  names = {"image", "mask"} & set(reader.info.features)
  return reader.as_data_source(split, decoders=dict.fromkeys(names, raw))


@pytest.mark.parametrize("name", BUILDERS)
def test_a_set_is_a_tfds_set(name, tmp_path):
  source = sources.make(name, tmp_path / "home" / "source")
  folder = build.build(name, source=source, data_dir=tmp_path / "data")
  reader = opened(folder)
  info = reader.info
  assert info.features["label"].names == ["normal", "abnormal"]
  channels = info.features["image"].shape[-1]
  for split, counts in sources.counts(name).items():
    read = reader.as_data_source(split)
    assert len(read) == sum(counts)
    labels = []
    for example, file in zip(read, encoded(reader, split), strict=True):
      labels.append(example["label"])
      with Image.open(io.BytesIO(file["image"])) as picture:
        expected = np.asarray(picture.convert("RGB" if channels == 3 else "L"))
      pixels = example["image"]
      assert pixels.dtype == np.uint8
      assert pixels.shape == (*expected.shape[:2], channels)
      np.testing.assert_array_equal(pixels, expected.reshape(pixels.shape))
      if "mask" in example:
        assert example["mask"].shape == (*pixels.shape[:2], 1)
        # Boxes are of some abnormal images only.
        if name != "fastmri" or not example["label"]:
          assert example["mask"].any() == example["label"]
        assert set(np.unique(example["mask"])) <= {0, 255}
    assert (labels.count(0), labels.count(1)) == counts


@pytest.mark.parametrize("name", BUILDERS)
def test_a_set_says_what_it_is_and_not_where_it_was_built(name, tmp_path):
  source = sources.make(name, tmp_path / "home" / "source")
  folder = build.build(name, source=source, data_dir=tmp_path / "data")
  info = opened(folder).info
  assert info.name == name
  for said in (info.description, info.citation):
    assert len(said) > 10
  # One's own and generated images have no home.
  assert info.homepage.startswith("http") or name in ("folder", "phantom")
  assert info.redistribution_info.license
  for path in folder.iterdir():
    content = path.read_bytes()
    for place in (tmp_path, Path.home()):
      assert str(place).encode() not in content, path


ODD = {
  "1": lambda im: im.convert("1"),
  "LA": lambda im: im.convert("LA"),
  "P": lambda im: im.convert("RGB").quantize(16),
  "RGBA": lambda im: im.convert("RGBA"),
}


@pytest.mark.parametrize("mode", ODD)
def test_images_of_odd_modes_are_plain_in_the_set(mode, tmp_path):
  source = sources.class_folders(tmp_path / "source")
  path = source / "test/abnormal/1.png"
  odd = ODD[mode](sources.image(5, mode="RGB"))
  odd.save(path)
  folder = build.build("folder", source=source, data_dir=tmp_path)
  channels = 1 if mode in ("1", "LA") else 3
  found = {
    example["name"].decode(): example["image"]
    for example in opened(folder).as_data_source("test")
  }
  expected = np.asarray(odd.convert("L" if channels == 1 else "RGB"))
  np.testing.assert_array_equal(
    found["test/abnormal/1.png"], expected.reshape(*expected.shape[:2], -1)
  )
  assert {pixels.shape[-1] for pixels in found.values()} == {channels}


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_masks_of_any_mode_are_gray_in_the_set(mode, tmp_path):
  source = sources.class_folders(tmp_path / "source")
  path = source / "test/masks/1.bmp"
  with Image.open(path) as mask:
    marks = np.asarray(mask) > 0
    mask.convert(mode).save(path.with_suffix(".png"))
  path.unlink()
  folder = build.build("folder", source=source, data_dir=tmp_path)
  found = {
    example["name"].decode(): example["mask"]
    for example in opened(folder).as_data_source("test")
  }
  np.testing.assert_array_equal(
    found["test/abnormal/1.png"][..., 0], np.where(marks, 255, 0)
  )


def test_a_build_leaves_nothing_in_the_folder_of_temporary_files(
  tmp_path, monkeypatch
):
  source = sources.make("rsna", tmp_path / "source")
  temporary = tmp_path / "temporary"
  temporary.mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(temporary))
  build.build("rsna", source=source, data_dir=tmp_path)
  assert list(temporary.iterdir()) == []


def test_facts_are_json(tmp_path):
  folder = build.build(
    "rsna", source=sources.make("rsna", tmp_path / "a"), data_dir=tmp_path
  )
  facts = json.loads((folder / "metadata.json").read_text())
  assert facts["source"] == "a"
  assert (
    spec.open_dataset("rsna", tmp_path, image_size=16).counts
    == (facts["counts"])
  )
