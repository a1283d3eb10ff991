"""Cloning is OpenCV's, and solves its equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.augment.nsa import medians, poisson, windows
from tests.augment import waves

SIDE = 90
_clone = jax.jit(poisson.clone, static_argnums=5)
_resized = jax.jit(windows.resized, static_argnums=4)


def clone(image, patch, corner, size, opacity=1.0, mixed=True):
  """The image with the patch cloned in; the patch is a window."""
  canvas = windows.grown(jnp.asarray(image, jnp.float32), len(patch))
  got = _clone(
    canvas,
    jnp.asarray(patch, jnp.float32),
    jnp.array(corner),
    jnp.array(size),
    jnp.float32(opacity),
    mixed,
  )
  return np.asarray(got)[: len(image), : len(image[0])]


# Size in the source, size, mixed, opacity -> sum of the image, sum of the
# change, its maximum, first and last changed row and column, labelled pixels,
# their sum, row and its pixels 95 to 102. From OpenCV 4.8.1 and 5.0.0.
FIXTURES = [
  ((40, 40), (40, 40), True, 1.0, 4007295, 16846, 44, (82, 117, 92, 127))
  + (1147, 930.55, 100, [137, 143, 141, 140, 141, 142, 144, 147]),
  ((40, 41), (40, 41), True, 1.0, 4008269, 17732, 47, (82, 117, 93, 129))
  + (1161, 939.26, 100, [138, 144, 143, 142, 142, 142, 143, 145]),
  ((41, 40), (41, 40), True, 1.0, 4007462, 17453, 44, (82, 118, 92, 127))
  + (1187, 963.03, 100, [137, 143, 141, 141, 141, 143, 145, 147]),
  ((40, 41), (40, 41), False, 1.0, 4014803, 33042, 107, (82, 117, 93, 129))
  + (1266, 1123.52, 100, [123, 119, 115, 113, 111, 111, 111, 112]),
  ((40, 41), (40, 41), True, 0.4, 4007770, 7111, 19, (82, 117, 93, 129))
  + (1026, 619.39, 100, [137, 147, 153, 158, 163, 166, 168, 169]),
  ((60, 80), (45, 60), True, 1.0, 4002570, 39735, 47, (82, 122, 92, 147))
  + (2215, 1991.41, 102, [147, 160, 170, 178, 183, 177, 168, 159]),
]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda f: str(f[:4]))
def test_cloning_is_opencvs(fixture):
  source, size, mixed, opacity, total, moved, most, ends = fixture[:8]
  labelled, label_sum, row, pixels = fixture[8:]
  patch = _resized(
    jnp.asarray(waves.SOURCE, jnp.float32),
    jnp.array([60, 70]),
    jnp.array(source),
    jnp.array(size),
    SIDE,
  )
  got = clone(waves.IMAGE, patch, (80, 90), size, opacity, mixed)
  change = abs(got - waves.IMAGE)
  # Its versions differ by one gray level in a pixel of a thousand.
  few = 0.004 * size[0] * size[1]
  assert abs(got.sum() - total) < few
  assert abs(change.sum() - moved) < few
  assert abs(change.max() - most) <= 1
  rows, columns = np.nonzero(change)
  assert (rows.min(), rows.max(), columns.min(), columns.max()) == ends
  assert abs(got[row, 95:103] - pixels).max() <= 1
  label = _label(change, (80, 90), size)
  assert abs((label > 0).sum() - labelled) <= 2
  assert abs(label.sum() - label_sum) < 0.001 * label_sum


def _label(change, corner, size):
  """NSA's, of the whole box."""
  box = np.zeros(change.shape, bool)
  box[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = True
  on = medians.box_median(jnp.asarray(box & (change >= 2)), 5)
  level = medians.disk_median(jnp.where(on, change, 0).astype(jnp.uint8), 5)
  level = np.asarray(level).astype(float)
  return np.asarray(on) / (1 + np.exp(-0.5 * (level - 4)))


@pytest.mark.parametrize("size", [(13, 12), (12, 15), (9, 20)], ids=str)
@pytest.mark.parametrize("mixed", [True, False])
def test_the_equation_is_solved(size, mixed):
  """A dense system of all pixels, in the words of the paper."""
  image, patch = np.random.RandomState(1).randint(60, 200, (2, 24, 24))
  got = clone(image, patch, (2, 3), size, 0.6, mixed)
  want = _dense(image, patch, (2, 3 + size[1] % 2), size, 0.6, mixed)
  assert abs(got - np.clip(want, 0, 255)).max() < 1.001
  assert ((want < 0) | (np.floor(want + 1e-3) >= got)).all()


def _dense(image, patch, corner, size, opacity, mixed):
  """Gradients v, then the image f whose Laplacian is their divergence."""
  (top, left), (height, width) = corner, size
  f = image.astype(float)
  below = f[top : top + height, left : left + width]
  by, bx = _differences(below)
  ay, ax = _differences(patch[:height, :width].astype(float))
  taken = np.zeros(by.shape, bool)
  taken[4 : height - 4, 4 : width - 4] = True
  if mixed:
    taken &= abs(ax - ay) > abs(bx - by)
  part = np.where(taken, np.ceil(255 * opacity) / 255, 0)
  vx, vy = bx + part * (ax - bx), by + part * (ay - by)
  inner = [(y, x) for y in range(2, height - 2) for x in range(2, width - 2)]
  index = {place: i for i, place in enumerate(inner)}
  matrix, right = np.zeros((len(inner),) * 2), np.zeros(len(inner))
  for (y, x), i in index.items():
    matrix[i, i] = -4
    right[i] = vx[y, x] - vx[y, x - 1] + vy[y, x] - vy[y - 1, x]
    for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
      if place in index:
        matrix[i, index[place]] = 1
      else:
        right[i] -= below[place]
  solved = np.linalg.solve(matrix, right)
  for (y, x), i in index.items():
    f[top + y, left + x] = solved[i]
  return f


def _differences(image):
  return np.diff(image, axis=0)[:, :-1], np.diff(image, axis=1)[:-1]


def test_the_largest_box_is_solved_to_a_thousandth_of_a_level():
  n, m = 176, 175
  want = 15 * np.random.RandomState(0).randn(n, m)
  padded = np.pad(want, 1)
  laplacian = sum(
    np.roll(padded, shift, axis) for shift in (1, -1) for axis in (0, 1)
  )[1:-1, 1:-1]
  field = jnp.zeros((176, 176)).at[:, :m].set(laplacian - 4 * want)
  got = jax.jit(poisson._solve)(field, jnp.array([n, m]))
  assert abs(np.asarray(got)[:, :m] - want).max() < 1e-3
  assert abs(np.asarray(got)[:, m:]).max() < 1e-3


def test_a_patch_of_the_image_itself_changes_nothing():
  patch = waves.IMAGE[80:170, 90:180]
  got = clone(waves.IMAGE, patch, (80, 90), (60, 60), mixed=False)
  np.testing.assert_array_equal(got, waves.IMAGE)


@pytest.mark.parametrize("size", [(0, 0), (1, 3), (4, 5), (8, 30), (30, 8)])
def test_a_box_without_an_inside_changes_nothing(size):
  patch = waves.SOURCE[60 : 60 + SIDE, 70 : 70 + SIDE]
  got = clone(waves.IMAGE, patch, (80, 90), size)
  np.testing.assert_array_equal(got, waves.IMAGE)
