"""Crops, flips and affine maps: golden numbers and what they may draw."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment import geometry

GOLDEN = Path(__file__).parent.parent / "golden" / "ra_prep.npz"


@pytest.mark.parametrize("row", range(4))
def test_affine_and_flip_are_those_of_pillow(row):
  with np.load(GOLDEN) as golden:
    image = jnp.asarray(golden["uint8_before"])[..., None]
    angle, x, y, scale, whether = map(jnp.float32, golden["draws"][row])
    expected = golden["uint8_augmented"][row]
  moved = geometry.affine(image, angle, x, y, scale)
  found = geometry.flip(moved, whether > 0.5)
  # Float32 coefficients may put a pixel on the other side of an edge.
  assert np.mean(np.asarray(found)[..., 0] != expected) < 1e-3


def test_no_change_is_the_image():
  image = jnp.arange(5 * 7).reshape(5, 7, 1)
  same = geometry.affine(image, *map(jnp.float32, (0, 0, 0, 1)))
  np.testing.assert_array_equal(same, image)


def test_whole_pixels_are_moved_and_zeros_come_in():
  image = jnp.arange(1, 26).reshape(5, 5, 1)
  found = geometry.affine(image, *map(jnp.float32, (0, 2, -1, 1)))[..., 0]
  expected = np.zeros((5, 5), int)
  expected[:4, 2:] = np.arange(1, 26).reshape(5, 5)[1:, :3]
  np.testing.assert_array_equal(found, expected)


def test_a_crop_is_a_part_of_the_image_and_all_places_are_drawn():
  image = jnp.arange(4 * 5).reshape(4, 5, 1)
  keys = jax.random.split(jax.random.key(0), 200)
  crop = jax.vmap(lambda key: geometry.random_crop(key, image, 3))
  found = np.asarray(crop(keys))[..., 0]
  corners = set()
  for part in found:
    top, left = divmod(part[0, 0], 5)
    corners.add((top, left))
    expected = np.asarray(image)[top : top + 3, left : left + 3, 0]
    np.testing.assert_array_equal(part, expected)
  assert corners == {(y, x) for y in range(2) for x in range(3)}


def test_half_of_the_images_are_mirrored():
  image = jnp.arange(6).reshape(1, 6, 1)
  keys = jax.random.split(jax.random.key(1), 400)
  flip = jax.vmap(lambda key: geometry.random_flip(key, image))
  first = np.asarray(flip(keys))[:, 0, 0, 0]
  assert set(first) == {0, 5}
  assert 150 < (first == 5).sum() < 250


def test_draws_stay_in_their_ranges():
  image = jnp.ones((20, 20, 1))
  keys = jax.random.split(jax.random.key(2), 300)
  move = jax.vmap(
    lambda key: geometry.random_affine(key, image, 0.0, 0.1, (1.0, 1.0))
  )
  found = np.asarray(move(keys))[..., 0] > 0
  # Two pixels of 20 at most, in each direction.
  lost = {int(400 - part.sum()) for part in found}
  assert max(lost) == 20 * 20 - 18 * 18
  assert min(lost) == 0
