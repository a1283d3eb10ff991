"""Masks by name: what does not fit is named at once; normal ones are empty."""

import numpy as np
from PIL import Image
import pytest

from data_builders import build
from medad_jax.data import spec
from medad_jax.types import UserError
from tests.data_builders import sources


@pytest.fixture
def source(tmp_path):
  return sources.brats(tmp_path / "source")


def make(source, **options):
  return build.build(
    "brats", source=source, data_dir=source.parent / "data", **options
  )


def test_masks_are_those_of_their_images(source):
  make(source, name="lgg")
  test = spec.open_dataset(
    "lgg", source.parent / "data", image_size=20, need=("test",)
  ).splits["test"]
  assert test.names[3:5] == (
    "test/normal/BraTS_03_flair_70.png",
    "test/tumor/BraTS_00_flair_70.png",
  )
  assert not test.masks[:4].any()
  for i, mask in enumerate(test.masks[4:]):
    np.testing.assert_array_equal(np.flatnonzero(mask[:, 0]), np.arange(5) + i)
    assert (mask == mask[:, :1]).all()


def test_all_that_does_not_fit_is_named_at_once(source):
  test = source / "test"
  sources.image(0, (7, 9)).save(test / "annotation" / "BraTS_00_seg_70.png")
  (test / "annotation" / "BraTS_01_seg_70.png").rename(
    test / "annotation" / "stray.png"
  )
  (test / "tumor" / "BraTS_02_flair_70.png").write_text("no image")
  (source / "train" / "BraTS_02_flair_70.png").write_bytes(b"")
  with pytest.raises(UserError) as error:
    make(source)
  first, *lines = str(error.value).splitlines()
  assert first.startswith("5 of 18 files")
  assert lines == [
    "  train/BraTS_02_flair_70.png: empty file",
    "  test/annotation/BraTS_00_seg_70.png: its size is 9x7, its image's"
    " 13x20 pixels",
    "  test/tumor/BraTS_01_flair_70.png: no mask",
    "  test/tumor/BraTS_02_flair_70.png: not an image that is read (PNG,"
    " JPEG, BMP, TIFF)",
    "  test/annotation/stray.png: no image",
  ]


def test_a_mask_mended_after_an_error_is_compared_again(source):
  image = source / "test/tumor/BraTS_00_flair_70.png"
  Image.open(image).resize((26, 40)).save(image)
  for _ in range(2):  # the second time, all files are noted as sound
    with pytest.raises(UserError, match="its size is 13x20"):
      make(source)
  mask = source / "test/annotation/BraTS_00_seg_70.png"
  Image.open(mask).resize((26, 40)).save(mask)
  make(source)


def test_without_the_folder_of_masks_nothing_is_built(source):
  (source / "test/annotation").rename(source / "test/other")
  with pytest.raises(UserError, match="no images in test/annotation"):
    make(source)
