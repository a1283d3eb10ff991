"""Steps of a preparation: golden numbers, masks, and what they compose to."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from data_builders import build
from medad_jax.data import preparation, spec
from medad_jax.data.preparation import Crop, Equalize, Pad, Preparation, Resize
from medad_jax.types import UserError
from tests.data_builders import sources
from tests.golden import filler

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN / "data_transforms.npz") as file:
    return dict(file)


def prepared(pixels, *steps, mode=None):
  picture = Image.fromarray(pixels)
  if mode is not None:
    picture = picture.convert(mode)
  return np.asarray(Preparation(steps).image(picture))


@pytest.mark.parametrize(
  "before, after, steps",
  [
    ("cifar_in", "cifar_plain", ()),
    ("cifar_in", "cifar_eq", (Equalize(),)),
    ("cifar_gray", "cifar_gray_eq", (Equalize(),)),
  ],
)
def test_small_color_images(golden, before, after, steps):
  for pixels, expected in zip(golden[before], golden[after], strict=True):
    np.testing.assert_array_equal(prepared(pixels, *steps), expected)


def test_gray_is_the_luminance_that_pillow_now_rounds(golden):
  """The reference's Pillow, 6.2.2, cut the fraction off."""
  sums = golden["cifar_in"].astype(int) @ [19595, 38470, 7471]
  np.testing.assert_array_equal(sums >> 16, golden["cifar_gray"])
  for pixels, expected in zip(golden["cifar_in"], sums, strict=True):
    found = prepared(pixels, mode="L")
    np.testing.assert_array_equal(found, (expected + 32768) >> 16)


@pytest.mark.parametrize("crop", [224, 300])
@pytest.mark.parametrize("equalize", [0, 1])
def test_chest_radiographs(golden, crop, equalize):
  steps = [Crop(crop), *[Equalize()] * equalize, Resize(64)]
  found = prepared(golden["nih_in"], *steps)
  expected = golden[f"nih_crop{crop}_eq{equalize}"]
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("equalize", [0, 1])
def test_patches_of_tissue(golden, equalize):
  found = prepared(golden["camelyon_in"], Crop(64), *[Equalize()] * equalize)
  expected = golden[f"camelyon_center64_eq{equalize}"]
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["constant", "two", "small", "step"])
def test_histograms_that_are_hard_to_equalize(golden, name):
  found = prepared(golden[f"equalize_{name}_in"], Equalize())
  np.testing.assert_array_equal(found, golden[f"equalize_{name}"])


def test_a_large_image_is_resized_as_the_reference_resizes_it(golden):
  i, j = np.mgrid[:512, :480]
  big = ((i * i // 7 + 3 * j * j // 11 + i * j // 5) // 8) % 256
  found = prepared(big.astype(np.uint8), Resize(300))
  digest = hashlib.sha256(found.tobytes()).hexdigest()
  assert digest == golden["nih_resize_sha256"]


@pytest.mark.parametrize("name", ["rgb32", "gray64"])
def test_images_are_enlarged_as_the_reference_enlarges_them(golden, name):
  found = prepared(golden[f"deep_if_{name}_in"], Resize(299))
  digest = hashlib.sha256(found.tobytes()).hexdigest()
  assert digest == golden[f"deep_if_{name}_sha256"]


@pytest.mark.parametrize(
  "height, offset",
  [(64, 0), (65, 0), (66, 1), (67, 2), (68, 2), (69, 2), (70, 3), (71, 4)],
)
def test_the_middle_is_rounded_to_even(height, offset):
  rows = np.arange(height, dtype=np.uint8)[:, None].repeat(64, 1)
  assert prepared(rows, Crop(64))[0, 0] == offset


def test_float_images_are_padded_and_shrunk_without_antialiasing():
  with np.load(GOLDEN / "ra_prep.npz") as file:
    expected, marked = file["eval_resized"], file["eval_mask_rows"]
    nonzero = file["mask_nonzero"]
  unit = (filler.named_images("ra_prep", (1, 1, 233, 197))[0, 0] + 1) / 2
  levels = np.maximum(17, np.round(255 * unit)).astype(np.uint8)
  square = np.asarray(Pad().image(Image.fromarray(levels)))
  assert square.shape == (233, 233)
  found = preparation.shrink(square.astype(np.float32) / 255, 128)
  np.testing.assert_allclose(found, expected, atol=5e-7)
  mask = np.zeros((233, 197), np.uint8)
  mask[60:91, 70:120] = 255
  padded = np.asarray(Pad().mask(Image.fromarray(mask)))
  small = preparation.shrink(padded.astype(np.float32) / 255, 128)
  np.testing.assert_allclose(small[30:52:3], marked, atol=5e-7)
  assert np.count_nonzero(small) == nonzero


def test_a_mask_follows_its_picture():
  marks = np.zeros((40, 24), np.uint8)
  marks[12:20, 8:16] = 255
  steps = Preparation((Pad(), Equalize(), Resize(20), Crop(10)))
  as_image = np.asarray(steps.image(Image.fromarray(marks)))
  as_mask = np.asarray(steps.mask(Image.fromarray(marks)))
  assert set(np.unique(as_mask)) == {0, 255}
  np.testing.assert_array_equal(as_mask > 0, as_image > 127)


@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_a_short_name_ends_at_its_size(resize):
  pixels = np.arange(50 * 30, dtype=np.uint8).reshape(50, 30)
  found = preparation.named(resize, 16).image(Image.fromarray(pixels))
  assert found.size == (16, 16)


def test_a_set_is_prepared_cached_and_named_by_its_steps(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  build.build("folder", source=source, data_dir=tmp_path, name="mine")

  def opened(resize, size=16):
    return spec.open_dataset(
      "mine", tmp_path, image_size=size, resize=resize, need=("test",)
    )

  plain = opened("stretch")
  steps = (Pad(), Equalize(), Resize(16))
  sets = [plain, opened(Preparation(steps)), opened(Preparation(steps[1:]))]
  assert len({one.fingerprint for one in sets}) == 3
  assert len(list((tmp_path / "cache" / "mine").iterdir())) == 3
  test = sets[1].splits["test"]
  for image, name in zip(test.images, test.names, strict=True):
    pixels = np.asarray(Image.open(source / name).convert("L"))
    np.testing.assert_array_equal(image[..., 0], prepared(pixels, *steps))
  # The short name stands for its steps.
  same = opened(preparation.named("stretch", 16)).splits["test"]
  np.testing.assert_array_equal(same.images, plain.splits["test"].images)
  with pytest.raises(UserError, match="of 16 pixels and 32 were asked for"):
    opened(Preparation(steps), 32)
