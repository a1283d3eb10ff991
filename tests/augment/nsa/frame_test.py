"""Views: Pillow's turning, the published lengths and laws."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from scipy import stats

from medad_jax.augment.nsa import frame

# Much to compute: worth compiling well.
_FAST = {"xla_backend_optimization_level": 1}
_crop = jax.jit(frame.turned_crop, static_argnums=3)


def test_sides():
  assert [frame.side_of(side) for side in (256, 128, 64)] == [224, 112, 56]


def test_center_has_even_margins_where_a_pixel_is_over():
  y, x = np.mgrid[:256, :341]
  got = frame.center(jnp.asarray(np.stack([y, x], -1))[None])
  assert got.shape == (1, 224, 224, 2)
  np.testing.assert_array_equal(got[0, 0, 0], [16, 58])


@pytest.mark.parametrize("degrees", [-3.0, 1.3])
def test_turned_crop_is_pillows(degrees):
  image = np.random.RandomState(0).randint(0, 256, (70, 91)).astype(np.uint8)
  want = np.asarray(Image.fromarray(image).rotate(degrees))[5:59, 20:74]
  got = _crop(
    jnp.asarray(image)[..., None], jnp.float32(degrees), jnp.array([5, 20]), 54
  )
  assert (np.asarray(got)[..., 0] == want).mean() > 0.995


@pytest.mark.parametrize(("ring", "seen"), [(7, False), (9, True)])
def test_turning_brings_nothing_from_outside(ring, seen):
  """At 3 degrees the corners of 230 pixels reach 120.9 from the center."""
  y, x = np.mgrid[:256, :256]
  inside = np.minimum(np.minimum(y, x), np.minimum(255 - y, 255 - x))
  image = jnp.asarray(inside < ring)[..., None]
  views = [
    _crop(image, jnp.float32(degrees), jnp.array([top, left]), 224)
    for degrees in (-3, 3)
    for top in (13, 19)
    for left in (13, 19)
  ]
  assert any(view.any() for view in views) == seen


def test_turns_and_offsets_are_uniform():
  y, x = np.mgrid[:256, :256]
  places = jnp.asarray(np.stack([y, x], -1), jnp.float32)

  def measure(key):
    view = frame.view(key, places)
    column = jnp.arange(224) - 111.5
    rise = (view[..., 0].mean(0) @ column) / (column @ column)
    return view.mean((0, 1)), jnp.arcsin(rise)

  keys = jax.random.split(jax.random.key(0), 400)
  middle, angle = jax.jit(jax.vmap(measure), compiler_options=_FAST)(keys)
  # The turn moves the middle of an uncentered crop by less than 0.25 pixels.
  offsets = np.asarray(jnp.round(middle - 127.5 + 3)).astype(int)
  for axis in (0, 1):
    counts = np.bincount(offsets[:, axis], minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 0.001
  pairs = np.bincount(offsets @ [7, 1], minlength=49)
  assert stats.chisquare(pairs).pvalue > 0.001
  degrees = np.rad2deg(np.asarray(angle))
  assert abs(degrees).max() < 3.01
  uniform = stats.uniform(-3, 6)
  assert stats.kstest(degrees, uniform.cdf).pvalue > 0.001
