"""Interpolation, against Pillow."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from medad_jax import interpolation
from tests.golden import cases

GOLDEN = cases.load("data_transforms")
resized = jax.jit(interpolation.pillow_bilinear, static_argnums=1)


def levels(image):
  return jnp.asarray(image, jnp.int32).reshape(1, *image.shape[:2], -1)


@pytest.mark.parametrize("name", ["deep_if_rgb32", "deep_if_gray64"])
def test_deep_if_sees_the_references_pixels(name):
  found = np.asarray(resized(levels(GOLDEN[f"{name}_in"]), 299), np.uint8)
  digest = hashlib.sha256(found.tobytes()).hexdigest()
  assert digest == str(GOLDEN[f"{name}_sha256"])


@pytest.mark.parametrize(
  ("given", "wanted"), [(32, 299), (64, 65), (64, 64), (64, 40), (97, 10)]
)
def test_pixels_are_pillows(given, wanted):
  image = np.random.RandomState(given).randint(0, 256, (given, given, 3))
  image = image.astype(np.uint8)
  kind = Image.Resampling.BILINEAR
  expected = Image.fromarray(image).resize((wanted, wanted), kind)
  found = resized(levels(image), wanted)[0]
  np.testing.assert_array_equal(found, np.asarray(expected))
