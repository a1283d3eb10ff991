"""Pasted anomalies have the published distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment.paste import center_bounds, paste


@pytest.fixture(scope="module")
def pasted():
  """20,000 times a white source on a black image of 64x64 pixels."""
  black = jnp.zeros((64, 64, 1))
  keys = jax.random.split(jax.random.key(0), 20_000)
  image, mask = jax.jit(jax.vmap(lambda key: paste(key, black, black + 1)))(
    keys
  )
  return np.asarray(image)[..., 0], np.asarray(mask)


def test_half_of_the_images_stay_as_they_were(pasted):
  image, mask = pasted
  on = mask.any((1, 2))
  assert abs(on.mean() - 0.5) < 0.015
  assert not image[~mask].any()


def test_one_opacity_an_image_uniform_in_zero_to_one(pasted):
  image, mask = pasted
  on = mask.any((1, 2))
  alpha = image[on].max((1, 2))
  inside = np.where(mask[on], image[on], alpha[:, None, None])
  np.testing.assert_array_equal(inside.min((1, 2)), alpha)
  assert abs(alpha.mean() - 0.5) < 0.01
  assert alpha.min() < 0.01
  assert 0.99 < alpha.max() < 1


def test_boxes_have_the_published_places_and_sizes(pasted):
  _, mask = pasted
  mask = mask[mask.any((1, 2))]
  rows, columns = (_ends(mask.any(axis)) for axis in (2, 1))
  whole = _whole(rows) & _whole(columns)
  sides = (rows[:, 1] - rows[:, 0])[whole]
  np.testing.assert_array_equal(sides, (columns[:, 1] - columns[:, 0])[whole])
  values, counts = np.unique(sides, return_counts=True)
  np.testing.assert_array_equal(values, np.arange(6, 25, 2))
  # Half-widths up to 6 are never clipped: their centers are uniform in 6..56.
  small = whole.copy()
  small[whole] = sides <= 12
  for ends in (rows[small], columns[small]):
    values, counts = np.unique(ends.sum(1) / 2, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(6, 57))
    assert counts.max() < 2 * counts.min()
  # Four of ten half-widths.
  assert abs(small.mean() - 0.4) < 0.02


def test_boxes_at_the_border_are_clipped(pasted):
  _, mask = pasted
  assert mask[:, 0].any()
  assert mask[:, :, 63].any()


def test_blend():
  image, source = np.random.RandomState(0).rand(2, 64, 64, 3)
  for seed in range(4):
    got, mask = paste(
      jax.random.key(seed), jnp.asarray(image), jnp.asarray(source)
    )
    ratio = (got - image) / (source - image)
    if mask.any():
      assert np.ptp(ratio[mask]) < 1e-3
    np.testing.assert_array_equal(ratio[~np.asarray(mask)], 0)


def _ends(on):
  """First and one past the last True of each row."""
  size = on.shape[1]
  return np.stack([on.argmax(1), size - on[:, ::-1].argmax(1)], 1)


def _whole(ends):
  return (ends[:, 0] > 0) & (ends[:, 1] < 64)


@pytest.mark.parametrize(
  ("side", "bounds"),
  # Whole tenths of a side fall short of themselves in floating point.
  [(28, (2, 25)), (64, (6, 57)), (100, (9, 90)), (224, (22, 201))],
)
def test_centers_lie_where_the_published_arithmetic_has_them(side, bounds):
  assert center_bounds(side) == bounds
