"""Crops, flips and affine maps; random ones take one example, key in front."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped
import numpy as np

Images = TypeVar("Images", Array, np.ndarray)

# Fractions of a pixel, as Pillow counts them: 16 bits.
_UNIT = 65_536.0


def center(
  images: Shaped[Images, "*n h w c"], size: int
) -> Shaped[Images, "*n size size c"]:
  """The middle squares of `size` pixels; of numpy's arrays, views.

  The offset is half the rest, rounded to the even number, as torchvision's
  CenterCrop has it.
  """
  top, left = (round((side - size) / 2) for side in images.shape[-3:-1])
  return images[..., top : top + size, left : left + size, :]


def random_crop(
  key: PRNGKeyArray, image: Shaped[Array, "h w c"], size: int
) -> Shaped[Array, "size size c"]:
  """A square of `size` pixels at a place drawn uniformly."""
  height, width, channels = image.shape
  most = jnp.array([height - size + 1, width - size + 1])
  top, left = jax.random.randint(key, (2,), 0, most)
  shape = (size, size, channels)
  return jax.lax.dynamic_slice(image, (top, left, 0), shape)


def random_flip(
  key: PRNGKeyArray, image: Shaped[Array, "h w c"], axis: int = 1
) -> Shaped[Array, "h w c"]:
  """The image, mirrored with probability 1/2; axis 1 swaps left and right."""
  return flip(image, jax.random.bernoulli(key), axis)


def flip(
  image: Shaped[Array, "h w c"], whether: Bool[Array, ""], axis: int = 1
) -> Shaped[Array, "h w c"]:
  """The image, mirrored or not."""
  return jnp.where(whether, jnp.flip(image, axis), image)


def random_affine(
  key: PRNGKeyArray,
  image: Shaped[Array, "h w c"],
  degrees: float,
  translate: float,
  scale: tuple[float, float],
) -> Shaped[Array, "h w c"]:
  """The image turned, moved by whole pixels and scaled.

  Args:
    key: of the draws, all uniform.
    image: any values; 0 fills what comes from outside.
    degrees: the largest angle, both ways.
    translate: the largest shift, as a share of the side, both ways.
    scale: the smallest and the largest factor.
  """
  turn, move, factor = jax.random.split(key, 3)
  angle = jax.random.uniform(turn, (), minval=-degrees, maxval=degrees)
  most = translate * jnp.array([image.shape[1], image.shape[0]])
  # Half to even, as Python and torchvision round.
  x, y = jnp.round(jax.random.uniform(move, (2,), minval=-most, maxval=most))
  low, high = scale
  by = jax.random.uniform(factor, (), minval=low, maxval=high)
  return affine(image, angle, x, y, by)


def affine(
  image: Shaped[Array, "h w c"],
  angle: Float[Array, ""],
  x: Float[Array, ""],
  y: Float[Array, ""],
  scale: Float[Array, ""],
) -> Shaped[Array, "h w c"]:
  """The image turned about its center, scaled, then moved: nearest pixels.

  Args:
    image: any values; 0 fills what comes from outside.
    angle: degrees, clockwise.
    x: pixels to the right.
    y: pixels down.
    scale: factor.
  """
  height, width, _ = image.shape
  radians = jnp.deg2rad(angle)
  cos, sin = jnp.cos(radians) / scale, jnp.sin(radians) / scale
  at_x, at_y = x + width / 2 - 0.5, y + height / 2 - 0.5
  across, down = jnp.arange(width), jnp.arange(height)[:, None]

  def source(by_x, by_y, center):
    """The row or column that each pixel comes from."""
    # Pillow's fixed point: a start and two steps, each rounded.
    start = _fixed(center - by_x * at_x - by_y * at_y)
    return (start + _fixed(by_x) * across + _fixed(by_y) * down) >> 16

  column = source(cos, sin, width / 2)
  row = source(-sin, cos, height / 2)
  inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
  found = image[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
  return jnp.where(inside[..., None], found, jnp.zeros((), image.dtype))


def _fixed(value):
  return jnp.floor(value * _UNIT + 0.5).astype(jnp.int32)
