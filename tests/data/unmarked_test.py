"""Lesions that are lost when masks are reduced are counted and named."""

import numpy as np
from PIL import Image
import pytest

from data_builders import build
from medad_jax.data import spec, unmarked
from tests.data_builders import sources


@pytest.fixture
def data_dir(tmp_path):
  """Three lesions of 64x64 images: one pixel, 2x2 pixels and 8x8 pixels."""
  source = tmp_path / "source"
  places = {"train/normal": 3, "test/normal": 2, "test/abnormal": 3}
  sources.fill(source, places, "{}.png")
  (source / "test/masks").mkdir()
  for i, size in enumerate([1, 2, 8]):
    sources.image(90 + i, (64, 64)).save(source / f"test/abnormal/{i}.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[8 : 8 + size, 8 : 8 + size] = 255
    Image.fromarray(mask).save(source / f"test/masks/{i}.png")
  build.build("folder", source=source, data_dir=tmp_path, name="small")
  return tmp_path


def said(data_dir, size, capsys):
  unmarked._say.cache_clear()  # as another process
  capsys.readouterr()
  test = spec.open_dataset(
    "small", data_dir, image_size=size, need=("test",)
  ).splits["test"]
  kept = int(test.masks[test.labels == 1].any((1, 2)).sum())
  return kept, capsys.readouterr().err


def test_lost_lesions_are_counted_and_named(data_dir, capsys):
  kept, error = said(data_dir, 64, capsys)
  assert (kept, error) == (3, "")
  kept, error = said(data_dir, 16, capsys)  # by nearest pixel: 10, 14, ...
  assert kept == 1
  assert "2 of 3 abnormal images of small/test have no marked pixel at" in error
  assert "16x16 pixels" in error
  assert "(test/abnormal/0.png, test/abnormal/1.png)" in error


def test_lost_lesions_are_named_from_the_cache_too(data_dir, capsys):
  first = said(data_dir, 16, capsys)
  assert said(data_dir, 16, capsys) == first
