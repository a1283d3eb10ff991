"""Preparations from their texts: golden numbers, masks, and what is cached."""

import hashlib
import io
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from data_builders import build
from medad_jax.data import decode, preparation, resident, spec
from medad_jax.types import UserError
from tests.data_builders import sources
from tests.golden import filler

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN / "data_transforms.npz") as file:
    return dict(file)


def png(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "png")
  return file.getvalue()


def prepared(pixels, text, size):
  """What a configuration's text makes of a picture, as a set is read."""
  channels = 1 if pixels.ndim == 2 or "gray" in text else 3
  found = decode.Frame(size, channels, text).image(png(pixels))
  return found[..., 0] if channels == 1 else found


def fed(image):
  """What a method is fed of a stored image [h w c]."""
  return np.asarray(resident.normalize(jnp.asarray(image)[None]))[0]


@pytest.mark.parametrize(
  "after, text",
  [
    ("cifar_plain", "resize:32"),
    ("cifar_eq", "equalize,resize:32"),
    ("cifar_gray", "gray,resize:32"),
    ("cifar_gray_eq", "gray,equalize,resize:32"),
  ],
)
def test_small_color_images(golden, after, text):
  for pixels, expected in zip(golden["cifar_in"], golden[after], strict=True):
    np.testing.assert_array_equal(prepared(pixels, text, 32), expected)


def test_a_method_is_fed_what_the_reference_feeds(golden):
  color = fed(prepared(golden["cifar_in"][0], "resize:32", 32))
  np.testing.assert_allclose(
    color.transpose(2, 0, 1), golden["cifar_plain_normalised"], atol=1e-7
  )
  text = "crop:224,equalize,resize:64"
  gray = fed(prepared(golden["nih_in"], text, 64)[..., None])[::4, ::4, 0]
  np.testing.assert_allclose(
    gray, golden["nih_crop224_eq1_normalised"][0], atol=1e-7
  )


def test_without_the_step_gray_is_rounded(golden):
  """The reference's Pillow, 6.2.2, cut the fraction off."""
  sums = golden["cifar_in"].astype(int) @ [19595, 38470, 7471]
  for pixels, expected in zip(golden["cifar_in"], sums, strict=True):
    found = decode.Frame(32, 1, "resize:32").image(png(pixels))
    np.testing.assert_array_equal(found[..., 0], (expected + 32768) >> 16)


def test_gray_pictures_stay_and_fill_three_channels():
  pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
  np.testing.assert_array_equal(prepared(pixels, "gray,resize:16", 16), pixels)
  found = decode.Frame(16, 3, "gray,resize:16").image(png(pixels))
  np.testing.assert_array_equal(found, pixels[..., None].repeat(3, -1))


@pytest.mark.parametrize("crop", [224, 300])
@pytest.mark.parametrize("equalize", [0, 1])
def test_chest_radiographs(golden, crop, equalize):
  text = f"gray,crop:{crop},{'equalize,' * equalize}resize:64"
  found = prepared(golden["nih_in"], text, 64)
  np.testing.assert_array_equal(found, golden[f"nih_crop{crop}_eq{equalize}"])


@pytest.mark.parametrize("equalize", [0, 1])
def test_patches_of_tissue(golden, equalize):
  text = "crop:64" + ",equalize" * equalize
  found = prepared(golden["camelyon_in"], text, 64)
  expected = golden[f"camelyon_center64_eq{equalize}"]
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["constant", "two", "small", "step"])
def test_histograms_that_are_hard_to_equalize(golden, name):
  pixels = golden[f"equalize_{name}_in"]
  size = len(pixels)
  found = prepared(pixels, f"equalize,resize:{size}", size)
  np.testing.assert_array_equal(found, golden[f"equalize_{name}"])


def test_a_large_image_is_resized_as_the_reference_resizes_it(golden):
  i, j = np.mgrid[:512, :480]
  big = ((i * i // 7 + 3 * j * j // 11 + i * j // 5) // 8) % 256
  found = prepared(big.astype(np.uint8), "resize:300", 300)
  digest = hashlib.sha256(found.tobytes()).hexdigest()
  assert digest == golden["nih_resize_sha256"]


@pytest.mark.parametrize("name", ["rgb32", "gray64"])
def test_images_are_enlarged_as_the_reference_enlarges_them(golden, name):
  found = prepared(golden[f"deep_if_{name}_in"], "resize:299", 299)
  digest = hashlib.sha256(found.tobytes()).hexdigest()
  assert digest == golden[f"deep_if_{name}_sha256"]


@pytest.mark.parametrize(
  "height, offset",
  [(64, 0), (65, 0), (66, 1), (67, 2), (68, 2), (69, 2), (70, 3), (71, 4)],
)
def test_the_middle_is_rounded_to_even(height, offset):
  rows = np.arange(height, dtype=np.uint8)[:, None].repeat(64, 1)
  assert prepared(rows, "crop:64", 64)[0, 0] == offset


def test_float_images_are_padded_and_shrunk_without_antialiasing():
  with np.load(GOLDEN / "ra_prep.npz") as file:
    golden = dict(file)
  unit = (filler.named_images("ra_prep", (1, 1, 233, 197))[0, 0] + 1) / 2
  pixels = np.maximum(17, np.round(255 * unit)).astype(np.uint8)
  found = prepared(pixels, "pad,shrink:128", 128)
  assert found.dtype == np.float32
  # The method's images are those of the reference, from [0, 1] to [-1, 1].
  seen = fed(found[..., None])[..., 0]
  np.testing.assert_allclose(seen, 2 * golden["eval_resized"] - 1, atol=5e-7)
  # To the level: what the reference truncates before it augments.
  np.testing.assert_array_equal(found.astype(np.uint8), golden["uint8_before"])


def test_a_shrunk_mask_marks_all_that_the_reference_gives_a_share():
  with np.load(GOLDEN / "ra_prep.npz") as file:
    rows, nonzero = file["eval_mask_rows"], file["mask_nonzero"]
  mask = np.zeros((233, 197), np.uint8)
  mask[60:91, 70:120] = 255
  found = decode.Frame(128, 1, "pad,shrink:128").mask(png(mask))
  assert np.count_nonzero(found) == nonzero
  np.testing.assert_array_equal(found[30:52:3], rows > 0)
  padded = np.pad(mask, ((0, 0), (18, 18))).astype(np.float32) / 255
  small = preparation.shrink(padded, 128)
  np.testing.assert_allclose(small[30:52:3], rows, atol=5e-7)


def test_channels_are_shrunk_one_by_one():
  image = np.random.RandomState(0).rand(20, 15, 3).astype(np.float32)
  found = preparation.shrink(image, 16)
  for channel in range(3):
    expected = preparation.shrink(image[..., channel], 16)
    np.testing.assert_array_equal(found[..., channel], expected)


def test_a_mask_follows_its_picture():
  marks = np.zeros((40, 24), np.uint8)
  marks[12:20, 8:16] = 255
  frame = decode.Frame(10, 1, "gray,pad,equalize,resize:20,crop:10")
  as_image = frame.image(png(marks))[..., 0]
  np.testing.assert_array_equal(frame.mask(png(marks)), as_image > 127)


@pytest.mark.parametrize(
  "text, size, same",
  [
    ("stretch", 16, "resize:16"),
    ("crop", 16, "shorter:16:lanczos,crop:16"),
    (" pad , gray,shrink:24", 24, "pad,gray,shrink:24"),
    ("resize:020,equalize", 20, "resize:20,equalize"),
  ],
)
def test_a_preparation_has_one_text(text, size, same):
  found = preparation.parse(text, size)
  assert str(found) == same
  assert preparation.parse(same, size) == found
  assert found.dtype == (np.float32 if "shrink" in text else np.uint8)


@pytest.mark.parametrize(
  "text, sentence",
  [
    ("", "has '', which is no step"),
    ("blur", "has 'blur', which is no step"),
    ("resize:64,crop", "has 'crop', which is no step"),
    ("resize:", "has 'resize:', which is no step"),
    ("crop:0", "has 'crop:0'.*N from 1 to 8192"),
    ("crop:" + "9" * 5000, "N from 1 to 8192"),
    ("pad:3,resize:64", "has 'pad:3'"),
    ("resize:64:nearest", "has 'resize:64:nearest'"),
    ("shrink:64:lanczos", "has 'shrink:64:lanczos'"),
    ("shrink:64,resize:64", "goes on after shrink"),
    ("crop:32", "ends with squares of 32 pixels, but squares of 64"),
    ("resize:64,pad", "ends with any shape.*resize:64"),
    ("shorter:64", "ends with any shape"),
  ],
)
def test_another_text_is_refused_in_a_sentence(text, sentence):
  with pytest.raises(UserError, match=sentence) as caught:
    preparation.parse(text, 64)
  assert len(str(caught.value)) < 400


def test_a_set_is_prepared_cached_and_named_by_its_steps(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  build.build("folder", source=source, data_dir=tmp_path, name="mine")

  def opened(text, size=16):
    return spec.open_dataset(
      "mine", tmp_path, image_size=size, preparation=text, need=("test",)
    )

  texts = ["stretch", "pad,equalize,resize:16", "equalize,resize:16"]
  texts.append("pad,shrink:16")
  sets = [opened(text) for text in texts]
  assert len({one.fingerprint for one in sets}) == len(sets)
  assert len(list((tmp_path / "cache" / "mine").iterdir())) == len(sets)
  for one, text in zip(sets, texts, strict=True):
    test = one.splits["test"]
    for image, name in zip(test.images, test.names, strict=True):
      pixels = np.asarray(Image.open(source / name).convert("L"))
      np.testing.assert_array_equal(image[..., 0], prepared(pixels, text, 16))
  # Fractions and all, from the cache.
  shrunk = opened("pad,shrink:16").splits["test"].images
  assert shrunk.dtype == np.float32 and (shrunk % 1 > 0).any()
  # A short name stands for its steps.
  assert opened("resize:16").fingerprint == sets[0].fingerprint
  with pytest.raises(UserError, match="of 16 pixels, but squares of 32"):
    opened("pad,resize:16", 32)


def test_a_set_larger_than_the_memory_is_named_before_it_is_decoded(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(spec, "memory_bytes", lambda: 10_000_000)
  with pytest.raises(UserError, match=r"phantom take 0 GB.*stored_size"):
    spec.open_dataset("phantom", tmp_path, image_size=64)
