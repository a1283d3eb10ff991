"""The 72 transformations: which pixel comes where, against the reference's."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment import transformations
from tests.golden import cases

GOLDEN = cases.load("geo_transforms")
# Name of the case, side, channels, translation.
CASES = [("m8", 32, 3, 8), ("m16", 64, 1, 16)]


def moved(side, channels, translation):
  """An image whose pixels are numbered in C order, 72 times."""
  count = side * side * channels
  numbers = np.arange(count, dtype=np.int32).reshape(side, side, channels)
  images = jnp.broadcast_to(
    jnp.asarray(numbers, jnp.float32), (72, side, side, channels)
  )
  function = jax.jit(transformations.transform, static_argnums=2)
  return np.asarray(function(images, jnp.arange(72), translation))


@pytest.mark.parametrize(("name", "side", "channels", "translation"), CASES)
def test_every_pixel_comes_where_the_reference_has_it(
  name, side, channels, translation
):
  found = moved(side, channels, translation).astype("<i4")
  digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in found]
  assert digests == GOLDEN[f"{name}_sha256"]


def test_the_table_is_the_stored_one():
  found = transformations.table(32, 8).reshape(72, 32, 32)
  np.testing.assert_array_equal(found, GOLDEN["m8_index"])


def test_each_image_has_its_own_transformation():
  images = jnp.arange(2.0 * 64).reshape(2, 8, 8, 1)
  found = transformations.transform(images, jnp.array([0, 36]), 2)
  np.testing.assert_array_equal(found[0], images[0])
  np.testing.assert_array_equal(found[1], images[1, :, ::-1])
