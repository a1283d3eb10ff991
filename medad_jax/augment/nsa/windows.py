"""Windows of an image at places that only the device knows.

A window has a fixed side k, large enough for every box; the box is its top left
part. An image must reach k pixels beyond any corner: `grown` sees to that.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped


def grown(
  image: Shaped[Array, "h w"], side: int
) -> Shaped[Array, "h+{side} w+{side}"]:
  """The image with zeros below and to the right, for windows of that side."""
  return jnp.pad(image, (0, side))


def read(
  image: Shaped[Array, "h w"], corner: Int[Array, "2"], side: int
) -> Shaped[Array, "k k"]:
  """The window at the corner (top, left)."""
  return jax.lax.dynamic_slice(image, corner, (side, side))


def write(
  image: Shaped[Array, "h w"],
  window: Shaped[Array, "k k"],
  corner: Int[Array, "2"],
) -> Shaped[Array, "h w"]:
  """The image with the window put at the corner."""
  return jax.lax.dynamic_update_slice(image, window, corner)


def box(size: Int[Array, "2"], side: int) -> Bool[Array, "k k"]:
  """True on the window's box of that height and width."""
  place = jnp.arange(side)
  return (place < size[0])[:, None] & (place < size[1])


def resized(
  image: Float[Array, "h w"],
  corner: Int[Array, "2"],
  size: Int[Array, "2"],
  new: Int[Array, "2"],
  side: int,
) -> Float[Array, "k k"]:
  """A box of the image at another size, bilinear, in a window of that side.

  OpenCV's INTER_LINEAR for bytes: centers of pixels on centers of pixels, the
  box's border repeated, no blur before shrinking. Its arithmetic, with weights
  of 11 bits, darkens a little and is kept; one pixel in a thousand differs.

  Args:
    image: whole numbers in 0..255; need not reach beyond the corner.
    corner: top and left of the box.
    size: height and width of the box.
    new: the height and width it gets.
    side: of the window; pixels beyond the new box are meaningless.

  Returns:
    Whole numbers in 0..255.
  """
  top, bottom, *weights = _taps(size[0], new[0], side)
  first, second = (
    (_squeezed(image[corner[0] + rows], corner[1], size[1], new[1]) >> 4)
    * weight[:, None]
    >> 16
    for rows, weight in zip((top, bottom), weights, strict=True)
  )
  return ((first + second + 2) >> 2).astype(jnp.float32)


def _squeezed(rows, left, size, new):
  """Rows of the image at another width, in 1/2048 of their values."""
  first, second, *weights = _taps(size, new, len(rows))
  rows = rows.astype(jnp.int32)
  return (
    rows[:, left + first] * weights[0] + rows[:, left + second] * weights[1]
  )


def _taps(size, new, side):
  """The two pixels a new one lies between, and their weights in 1/2048."""
  new = jnp.maximum(new, 1)
  place = (2 * jnp.arange(side) + 1) * size - new  # in 1 / (2 new) pixels
  place = jnp.clip(place, 0, 2 * new * (size - 1))
  low = place // (2 * new)
  part = (place - low * 2 * new) / (2 * new)
  weights = (
    jnp.round(2048 * share).astype(jnp.int32) for share in (1 - part, part)
  )
  return low, jnp.minimum(low + 1, size - 1), *weights
