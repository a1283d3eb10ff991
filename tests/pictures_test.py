"""Pictures prepared without Pillow are Pillow's own, to the last bit."""

import numpy as np
from PIL import Image
import pytest

from medad_jax import pictures
from medad_jax.data import decode, preparation, scans

TEXTS = (
  "stretch",
  "crop",
  "gray,crop:20,resize:32",
  "pad,equalize,resize:32:lanczos",
  "shorter:40,crop:32,equalize",
  "crop:90,shrink:32",
)


def picture(shape, kind=np.uint8, seed=0):
  top = np.iinfo(kind).max + 1
  draw = np.random.RandomState(seed)
  levels = draw.randint(0, top, shape)
  levels[: shape[0] // 3] //= 3  # a histogram that can be equalized
  return levels.astype(kind)


@pytest.mark.parametrize("channels", (1, 3))
@pytest.mark.parametrize("text", TEXTS)
def test_it_is_what_files_become(text, channels):
  frame = decode.Frame(32, channels, text)
  written = str(preparation.parse(text, 32))
  for shape in ((70, 41), (25, 57, 3), (32, 32)):
    image = picture(shape)
    wanted = frame.prepared(Image.fromarray(image))
    found = pictures.prepared(image, written, channels)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_images_of_16_bits_are_what_files_of_16_bits_become(tmp_path):
  image = picture((40, 50), np.uint16) // 3
  Image.fromarray(image).save(tmp_path / "deep.png")
  wanted = decode.Frame(32, 1).prepared(
    scans.read(tmp_path / "deep.png").picture
  )
  found = pictures.prepared(image, "resize:32", 1)
  np.testing.assert_array_equal(found, wanted)
  flat = pictures.prepared(np.full((9, 9), 7, np.uint16), "resize:32", 1)
  assert not flat.any()


def test_every_step_is_known():
  """A new step of the preparation is written twice, or cannot be exported."""
  known = {*preparation._PLAIN, *preparation._SIZED}
  assert known == set(pictures._STEPS)
  assert all(any(name in text for text in (*TEXTS, "resize")) for name in known)


GOOD = np.full((2, 8, 8), 100, np.uint8)


@pytest.mark.parametrize(
  "images, said",
  [
    (GOOD[:0], "no image was given"),
    ([], "no image was given"),
    (GOOD[0], r"array of shape \(8, 8\) was given.*image\[None\]"),
    (7, "int was given; give a list"),
    ("brain.png", "str was given; give a list"),
    (GOOD[..., None].repeat(4, -1), "image of 4 channels"),
    (GOOD[:, None], r"image of 8 channels|shape"),
    ([np.zeros((0, 5), np.uint8)], r"shape \(0, 5\)"),
    (GOOD / 255, "float64 values were given.*uint8"),
    (GOOD.astype(np.int32), "int32 values were given"),
    (GOOD * np.float32("nan"), r"not finite \(NaN\)"),
    (GOOD // 100, "all levels are 0 or 1"),
  ],
)
def test_what_is_no_decoded_image_is_told(images, said):
  with pytest.raises(pictures.ModelFileError, match=said) as found:
    pictures.check_all(images)
  assert "\n" not in str(found.value)


def test_black_images_are_images():
  pictures.check_all(GOOD * 0)
