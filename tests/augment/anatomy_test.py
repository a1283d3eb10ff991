"""The anatomy is what is dark, large and inside, step by step."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import exposure

from medad_jax import types
from medad_jax.augment import anatomy


def test_lungs_of_a_phantom_are_found():
  y, x = np.mgrid[:224, :224] / 224
  lungs = np.zeros((224, 224), bool)
  for middle in (0.3, 0.7):
    lungs |= ((x - middle) / 0.13) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1
  # Dark, but at the border; and dark, but small.
  pocket = (y < 0.15) & (abs(x - 0.5) < 0.1)
  nodule = (y - 0.85) ** 2 + (x - 0.5) ** 2 < 0.03**2
  body = 170 + 20 * np.sin(7 * y) * np.cos(5 * x)
  image = np.where(lungs | pocket | nodule, 60 + 10 * np.sin(20 * y), body)
  noise = np.random.RandomState(0).normal(0, 4, image.shape)
  image = np.clip(image + noise, 0, 255).astype(np.uint8)
  (mask,) = anatomy.masks(image[None, ..., None])
  assert (mask & lungs).sum() / (mask | lungs).sum() > 0.9
  assert not mask[pocket | nodule].any()
  (colored,) = anatomy.masks(np.repeat(image[None, ..., None], 3, -1))
  np.testing.assert_array_equal(colored, mask)


@pytest.mark.parametrize("sides", [(224, 224), (64, 64), (32, 32), (100, 75)])
def test_masks_follow_the_published_steps(sides):
  random = np.random.RandomState(0)
  images = [_clouds(random, sides, smooth) for smooth in (1, 2, 4, 6)]
  got = anatomy.masks(np.stack(images))
  want = np.stack([_expected(image) for image in images])
  np.testing.assert_array_equal(got, want)
  assert want.any() and not want.all()


def test_bounding_boxes_of_small_parts_bite_into_large_ones():
  image = np.full((224, 224), 200, np.uint8)
  image[100:170, 100:170] = 50
  (whole,) = anatomy.masks(image[None, ..., None])
  assert whole[102:168, 102:168].all()
  # Two bars around the corner of the square, which they do not touch.
  image[93:96, 93:125] = 50
  image[93:125, 93:96] = 50
  (bitten,) = anatomy.masks(image[None, ..., None])
  assert not bitten[92:126, 92:126].any()
  assert bitten[127:168, 102:168].all() and bitten[102:168, 127:168].all()


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_images_have_no_anatomy(value):
  image = np.full((2, 64, 64, 3), value, np.uint8)
  assert not anatomy.masks(image).any()


def test_an_image_without_foreground_has_no_anatomy():
  """What is dark touches the border; inside, nothing is large and dark."""
  y, x = np.mgrid[:224, :224]
  disc = (y - 111.5) ** 2 + (x - 111.5) ** 2 <= 100**2
  wave = np.sin(2 * np.pi * y / 37) * np.cos(2 * np.pi * x / 29)
  image = np.where(disc, np.floor(128 + 60 * wave), 0).astype(np.uint8)
  assert not anatomy.masks(image[None, ..., None]).any()


def test_no_images_are_no_masks():
  masks = anatomy.masks(np.zeros((0, 64, 64, 3), np.uint8))
  assert masks.shape == (0, 64, 64)


@pytest.mark.parametrize("shape", [(1, 31, 64, 1), (1, 64, 64, 2)])
def test_other_images_are_refused_with_advice(shape):
  with pytest.raises(types.UserError, match="data.image_size"):
    anatomy.masks(np.zeros(shape, np.uint8))


def _clouds(random, sides, smooth):
  """Filtered noise in colors that differ a little."""
  noise = random.normal(size=(*sides, 1))
  noise = ndimage.gaussian_filter(noise, smooth, axes=(0, 1))
  noise = noise / noise.std() * 50 + random.normal(size=(*sides, 3)) * 5
  return np.clip(128 + noise, 0, 255).astype(np.uint8)


def _expected(image):
  """The steps in SciPy, from the equalized image on."""
  red, green, blue = np.moveaxis(image.astype(int), -1, 0)
  gray = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
  equal = exposure.equalize_adapthist(gray.astype(np.uint8))
  dark = (equal > 0) & (equal <= _otsu(equal))
  square = np.ones((3, 3))
  dark = ndimage.binary_dilation(
    ndimage.binary_erosion(dark, square, border_value=1), square
  )
  labels, _ = ndimage.label(dark, square)
  edges = labels[0], labels[-1], labels[:, 0], labels[:, -1]
  dark &= ~np.isin(labels, np.concatenate(edges))
  labels, count = ndimage.label(ndimage.binary_dilation(dark, square), square)
  mask = labels > 0
  for label, box in enumerate(ndimage.find_objects(labels), 1):
    if np.sum(labels == label) / labels.size < 400 / 224**2:
      mask[box] = False
  return mask


def _otsu(values):
  """The middle of a bin: below and above it, the means are most apart."""
  counts, edges = np.histogram(values, 256, (values.min(), values.max()))
  middles = (edges[1:] + edges[:-1]) / 2
  spreads = [
    counts[:i].sum()
    * counts[i:].sum()
    * (_mean(middles[:i], counts[:i]) - _mean(middles[i:], counts[i:])) ** 2
    for i in range(1, 256)
  ]
  return middles[np.argmax(spreads)]


def _mean(values, counts):
  return (values * counts).sum() / counts.sum()
