"""Median filters of small integers, without sorting."""

from collections.abc import Iterable
import functools
import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt8
import numpy as np


def box_median(binary: Bool[Array, "h w"], side: int) -> Bool[Array, "h w"]:
  """The majority of the pixels in a square window; the border is repeated.

  Args:
    binary: a mask.
    side: of the window in pixels, an odd number.
  """
  half = side // 2
  padded = jnp.pad(binary, half, mode="edge").astype(jnp.int32)
  height, width = binary.shape
  rows = _sum(padded[i : i + height] for i in range(side))
  counts = _sum(rows[:, i : i + width] for i in range(side))
  return counts > side * side // 2


def disk_median(image: UInt8[Array, "h w"], radius: int) -> UInt8[Array, "h w"]:
  """The median over a disk; the border is repeated.

  A disk has an odd number of pixels, so its median is the largest value that
  more than half of them reach: its eight bits are found one after the other.

  Args:
    image: any bytes.
    radius: of the disk in pixels, up to 8 (its pixels are counted in a byte).
  """
  height, width = image.shape
  padded = jnp.pad(image, radius, mode="edge")
  places = [(int(y), int(x)) for y, x in np.argwhere(_disk(radius))]
  most = jnp.uint8(len(places) // 2)

  def bit(i, found):
    wanted = found | jax.lax.shift_right_logical(jnp.uint8(128), jnp.uint8(i))
    reached = _sum(
      (padded[y : y + height, x : x + width] >= wanted).astype(jnp.uint8)
      for y, x in places
    )
    return jnp.where(reached > most, wanted, found)

  return jax.lax.fori_loop(0, 8, bit, jnp.zeros_like(image))


def _sum(images: Iterable[Array]) -> Array:
  return functools.reduce(operator.add, images)


def _disk(radius: int) -> np.ndarray:
  y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
  return y * y + x * x <= radius * radius
