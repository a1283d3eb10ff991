"""Windows stay in place; resizing is bilinear."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment.nsa import windows

resized = jax.jit(windows.resized, static_argnums=4)


def test_what_is_read_is_written_where_it_was():
  image = jnp.arange(60.0).reshape(6, 10)
  canvas = windows.grown(image, 4)
  corner = jnp.array([5, 8])
  window = windows.read(canvas, corner, 4)
  np.testing.assert_array_equal(window[:2, :2], [[58, 59], [0, 0]])
  inside = windows.box(jnp.array([1, 2]), 4)
  assert inside.sum() == 2
  back = windows.write(canvas, jnp.where(inside, 0, window), corner)
  changed = np.argwhere(np.asarray(back != canvas))
  np.testing.assert_array_equal(changed, [[5, 8], [5, 9]])


@pytest.mark.parametrize(
  "new", [(20, 25), (9, 11), (31, 40), (40, 7), (1, 1)], ids=str
)
def test_resizing_is_bilinear(new):
  """Up to one gray level, and as dark as OpenCV's: -1/8 on average."""
  image = np.random.RandomState(0).randint(0, 256, (30, 33))
  (top, left), (height, width) = (7, 5), (20, 25)
  want = image[top : top + height, left : left + width].astype(float)
  for axis, size in enumerate(new):
    place = (np.arange(size) + 0.5) * want.shape[axis] / size - 0.5
    known = np.arange(want.shape[axis])
    want = np.apply_along_axis(
      lambda line, at, x: np.interp(at, x, line), axis, want, place, known
    )
  got = resized(
    jnp.asarray(image, jnp.float32),
    jnp.array([top, left]),
    jnp.array([height, width]),
    jnp.array(new),
    40,
  )
  error = np.asarray(got)[: new[0], : new[1]] - want
  assert abs(error).max() < 1.01
  if new == (height, width):
    assert not error.any()
  elif error.size > 90:
    assert -0.25 < error.mean() < 0


def test_a_mask_stays_a_mask_and_halves_are_true():
  mask = jnp.zeros((8, 8)).at[:, 2:].set(1)
  got = resized(
    mask, jnp.array([0, 0]), jnp.array([8, 8]), jnp.array([8, 16]), 16
  )
  np.testing.assert_array_equal(got[0], [0] * 4 + [1] * 12)
  # Of two pixels one: a half.
  got = resized(
    mask, jnp.array([0, 1]), jnp.array([8, 4]), jnp.array([4, 2]), 16
  )
  np.testing.assert_array_equal(got[0, :2], [1, 1])
