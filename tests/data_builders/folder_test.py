"""One's own images: what has to be there, and masks that match."""

import shutil

import pytest

from data_builders import build
from medad_jax.data import spec
from medad_jax.types import UserError
from tests.data_builders import sources


def make(source, tmp_path):
  return build.build(
    "folder", source=source, data_dir=tmp_path / "data", name="mine"
  )


def test_no_unlabelled_images_and_no_masks_is_fine(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.rmtree(source / "unlabelled")
  shutil.rmtree(source / "test" / "masks")
  make(source, tmp_path)
  data = spec.open_dataset(
    "mine", tmp_path / "data", image_size=16, need=("train", "test")
  )
  assert dict(data.counts) == {"train": 5, "test": 7}
  assert data.splits["test"].masks is None
  with pytest.raises(UserError, match="no images in unlabelled_normal, unl"):
    spec.open_dataset("mine", tmp_path / "data", image_size=16)


def test_a_needed_folder_without_images(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.rmtree(source / "train")
  shutil.rmtree(source / "test" / "abnormal")
  (source / "test" / "abnormal").mkdir()
  with pytest.raises(UserError, match="in train/normal, test/abnormal of"):
    make(source, tmp_path)


def test_masks_and_images_that_do_not_match_are_all_named(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  (source / "test" / "masks" / "0.bmp").rename(source / "test/masks/9.bmp")
  with pytest.raises(UserError) as error:
    make(source, tmp_path)
  assert "0.png: no mask" in str(error.value)
  assert "9.bmp: no image" in str(error.value)


def test_a_broken_mask_is_named(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  (source / "test" / "masks" / "1.bmp").write_text("no")
  with pytest.raises(UserError, match=r"test/masks/1\.bmp: not an image"):
    make(source, tmp_path)
