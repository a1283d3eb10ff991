"""Seamless cloning (Pérez et al., 2003), as OpenCV's seamlessClone does it.

A box of the image takes the gradients of a patch and keeps its own border. The
published anomalies were made by OpenCV, so its ways are kept: the border is one
pixel inside the box; the patch's gradients count from three pixels further in;
a box of odd width is cloned one pixel to the right; "mixed" compares the
difference of the two components of a gradient, not its length; gray levels are
cut, not rounded. OpenCV's own versions differ by one gray level in a pixel of a
thousand, and so does this.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from medad_jax.augment.nsa import windows

# Pixels of the border that keep the image, and those that keep its gradients.
_RIM, _QUIET = 2, 4


def clone(
  canvas: Float[Array, "h w"],
  patch: Float[Array, "k k"],
  corner: Int[Array, "2"],
  size: Int[Array, "2"],
  opacity: Float[Array, ""],
  mixed: bool,
) -> Float[Array, "h w"]:
  """Clones a patch into a box.

  Args:
    canvas: whole numbers in 0..255, reaching k beyond the corner
      (`windows.grown`).
    patch: whole numbers in 0..255, a window with the box at its top left.
    corner: top and left of the box.
    size: its height and width. Nothing changes where one is below 9.
    opacity: in [0, 1], rounded up to 1/255; it scales the patch's gradients.
    mixed: whether the stronger of the patch's and the image's gradients is
      taken, instead of the patch's everywhere.

  Returns:
    The canvas, whole numbers in 0..255.
  """
  side = patch.shape[0]
  corner = corner.at[1].add(size[1] % 2)
  below = windows.read(canvas, corner, side)
  change = _change(below, patch, size, opacity, mixed)
  inside = _within(size, side, _RIM)
  level = jnp.floor(jnp.clip(below + change, 0, 255))
  return windows.write(canvas, jnp.where(inside, level, below), corner)


def _change(below, patch, size, opacity, mixed):
  """Solves Poisson's equation for the difference the patch makes."""
  side = patch.shape[0]
  image_x, image_y = _gradients(below)
  patch_x, patch_y = _gradients(patch)
  taken = _within(size, side, _QUIET)
  if mixed:
    taken &= jnp.abs(patch_x - patch_y) > jnp.abs(image_x - image_y)
  weight = jnp.where(taken, jnp.ceil(255 * opacity) / 255, 0)
  x, y = weight * (patch_x - image_x), weight * (patch_y - image_y)
  divergence = x - jnp.roll(x, 1, 1) + y - jnp.roll(y, 1, 0)
  inner = slice(_RIM, side - _RIM)
  # A box without an inside is given one, which is then left alone.
  size = jnp.maximum(size - 2 * _RIM, 1)
  return jnp.pad(_solve(divergence[inner, inner], size), _RIM)


def _gradients(image):
  """Forward differences along columns and rows; the last are meaningless."""
  return jnp.roll(image, -1, 1) - image, jnp.roll(image, -1, 0) - image


def _within(size, side, rim) -> Bool[Array, "k k"]:
  """The box without a rim of so many pixels."""
  place = jnp.arange(side)
  rows = (place >= rim) & (place < size[0] - rim)
  columns = (place >= rim) & (place < size[1] - rim)
  return rows[:, None] & columns


def _solve(divergence, size):
  """The field of that Laplacian that is zero around size[0] x size[1] pixels.

  By sine transforms. Their length is the box's, which only the device knows:
  matrices that are zero beyond it take the place of fast transforms. In float32
  the error stays below a thousandth of a gray level.
  """
  order = jnp.arange(1, divergence.shape[0] + 1)
  rows, columns = (_sines(order, length) for length in (size[0], size[1]))
  down, across = (_eigenvalues(order, length) for length in (size[0], size[1]))
  waves = _product(rows, divergence, columns) / (down[:, None] + across)
  scale = 4 / ((size[0] + 1) * (size[1] + 1))
  return scale * _product(rows, waves, columns)


def _product(left, middle, right):
  """A full-precision product; some devices' default errs by two gray levels."""
  return jnp.linalg.multi_dot(
    (left, middle, right), precision=jax.lax.Precision.HIGHEST
  )


def _sines(order, length):
  """sin(pi i j / (length + 1)) for i and j up to the length, zero beyond."""
  period = 2.0 * (length + 1)
  steps = (order[:, None] * order).astype(jnp.float32)
  # Whole numbers, reduced to one period before any rounding.
  steps -= period * jnp.floor(steps / period)
  known = (order[:, None] <= length) & (order <= length)
  return jnp.where(known, jnp.sin(2 * jnp.pi / period * steps), 0)


def _eigenvalues(order, length):
  """2 cos(pi i / (length + 1)) - 2, beyond the length any that is not zero."""
  angle = jnp.pi * jnp.minimum(order, length) / (length + 1)
  return -4 * jnp.sin(angle / 2) ** 2
