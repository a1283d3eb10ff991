"""CLAHE: contrast-limited adaptive histogram equalization.

Zuiderveld, Graphics Gems IV (1994), as scikit-image's `equalize_adapthist`
computes it by default, of which no code is used. It works on levels from 0 to
16383, and rounds to whole ones twice, so that it must be exact to be equal:
everything but the first and last step is integer arithmetic, and where the
library rounds a product of float64 a table made by numpy has the results. It
runs on every device inside a compiled program. There is no gradient.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

_TILES = 8  # along each side
_BINS = 256
_TOP = 2**14 - 1  # the highest level
_BIN_LEVELS = 65  # levels of a bin
_CLIP = 0.01  # of a tile's pixels: the most that a bin keeps


def equalize(images: Float[Array, "*n h w"]) -> Float[Array, "*n h w"]:
  """Images in [0, 1] with the contrast of their neighborhoods, float32.

  The least and greatest values are 0 and 1; a constant image becomes 1.
  Results are those of scikit-image where the sides are 16, 32, 64, 128 or 256,
  and within one level of 16383 of them elsewhere.

  Args:
    images: values outside of [0, 1] are clipped.

  Raises:
    ValueError: a side is no multiple of 16.
  """
  h, w = images.shape[-2:]
  if h % (2 * _TILES) or w % (2 * _TILES):
    raise ValueError(f"sides of {h}x{w} are not multiples of {2 * _TILES}")
  flat = images.reshape(-1, h, w)
  return jax.vmap(_equalize)(flat).reshape(images.shape)


def _equalize(image: Float[Array, "h w"]) -> Float[Array, "h w"]:
  h, w = image.shape
  sides = h // _TILES, w // _TILES  # of a tile
  bins = _levels(image) // _BIN_LEVELS
  levels = _interpolated(bins, _mappings(bins, sides), sides)
  low, high = jnp.min(levels), jnp.max(levels)
  # One float32 division, as the library's. Without the barrier XLA makes it a
  # product with the reciprocal, which is rounded twice.
  spread = jnp.broadcast_to(jnp.maximum(high - low, 1), image.shape)
  spread = lax.optimization_barrier(spread.astype(jnp.float32))
  stretched = (levels - low).astype(jnp.float32) / spread
  constant = jnp.clip(levels, 0, 1).astype(jnp.float32)
  return jnp.where(high > low, stretched, constant)


def _levels(image: Float[Array, "h w"]) -> Int[Array, "h w"]:
  """Levels from 0 to 16383, stretched to all of them."""
  top = 2**16 - 1
  image = jnp.clip(image.astype(jnp.float32), 0, 1)
  fine = jnp.round(image * top).astype(jnp.int32)
  low, high = jnp.min(fine), jnp.max(fine)
  # At most 65535 * 16383, which an int32 holds.
  product, spread = (fine - low) * _TOP, jnp.maximum(high - low, 1)
  whole, rest = product // spread, product % spread
  up = jnp.where(
    2 * rest == spread,
    jnp.asarray(_ties())[jnp.minimum(whole, _TOP - 1)],
    (2 * rest > spread).astype(jnp.int32),
  )
  # The library does not stretch a constant image, but cuts it off.
  return jnp.where(high > low, whole + up, jnp.minimum(fine, _TOP))


@functools.cache
def _ties() -> np.ndarray:
  """By k, 1 where k + 1/2 becomes k + 1, int32 [16383].

  The exact value lies in the middle. The library divides first and multiplies
  then, in float64, which falls on either side of it.
  """
  k = np.arange(_TOP)
  rounded = np.rint((2 * k + 1) / (2 * _TOP) * float(_TOP))
  return (rounded - k).astype(np.int32)


def _mappings(
  bins: Int[Array, "h w"], sides: tuple[int, int]
) -> Int[Array, "t t m"]:
  """By tile and bin, the level that the bin becomes."""
  (rows, columns), pixels = sides, sides[0] * sides[1]
  tiles = bins.reshape(_TILES, rows, _TILES, columns).swapaxes(1, 2)
  tiles = tiles.reshape(_TILES**2, pixels)
  numbers = jnp.arange(_TILES**2)[:, None]
  counts = jnp.zeros((_TILES**2, _BINS), jnp.int32).at[numbers, tiles].add(1)
  limit = max(int(_CLIP * pixels), 1)
  counts = jax.vmap(functools.partial(_clipped, limit=limit))(counts)
  # Redistribution may add some pixels too many.
  sums = jnp.minimum(jnp.cumsum(counts, -1), pixels + 1)
  table = jnp.asarray(_scaled(pixels))
  return table[sums].reshape(_TILES, _TILES, _BINS)


@functools.cache
def _scaled(pixels: int) -> np.ndarray:
  """By a count of pixels, its share of the levels, cut as the library does."""
  scaled = np.arange(pixels + 2) * (_TOP / pixels)
  return np.minimum(scaled, _TOP).astype(np.int32)


def _clipped(counts: Int[Array, "m"], limit: int) -> Int[Array, "m"]:
  """A histogram of at most `limit` a bin, its excess spread over the bins."""
  excess = jnp.sum(jnp.maximum(counts - limit, 0))
  counts = jnp.minimum(counts, limit)
  # All bins get the same share first. What comes within that share of the limit
  # is filled up to it.
  share = excess // _BINS
  near = limit - share
  filled = counts + jnp.where(counts < near, share, 0)
  filled = jnp.where(filled >= near, limit, filled)
  excess -= jnp.sum(filled - counts)
  return _spread(filled, excess, limit)


def _spread(counts, excess, limit):
  """Adds one to bins at equal distances, from one bin after the other on.

  It ends when nothing is left, or when a sweep over all first bins added none.
  """
  places = jnp.arange(_BINS)

  def going_on(carry):
    _, left, _, before = carry
    # `before` is what was left when the sweep began; none once it was in vain.
    return (left > 0) & (before != 0)

  def add(carry):
    counts, left, first, before = carry
    before = jnp.where(first == 0, left, before)
    under = counts < limit
    step = jnp.maximum(1, jnp.sum(under) // left)
    chosen = under & (places >= first) & ((places - first) % step == 0)
    left -= jnp.sum(chosen)
    ends = first == _BINS - 1
    in_vain = ends & (left == before)
    return (
      counts + chosen,
      left,
      jnp.where(ends, 0, first + 1),
      jnp.where(in_vain, 0, before),
    )

  start = counts, excess, jnp.zeros_like(excess), excess
  return lax.while_loop(going_on, add, start)[0]


def _interpolated(
  bins: Int[Array, "h w"],
  mappings: Int[Array, "t t m"],
  sides: tuple[int, int],
) -> Int[Array, "h w"]:
  """Levels between the mappings of the four nearest tiles, as whole numbers."""
  rows, columns = map(_neighbors, bins.shape, sides)
  total = jnp.zeros_like(bins)
  for row, y in rows:
    for column, x in columns:
      level = mappings[row[:, None], column[None, :], bins]
      total += level * (y[:, None] * x[None, :])
  # Weights are whole numbers, so that nothing is rounded before this.
  return total // (sides[0] * sides[1])


def _neighbors(length: int, side: int):
  """Both nearest tiles of each pixel on a line, with weights out of `side`."""
  place = np.arange(length) + side // 2
  tile, far = place // side, place % side
  # Tiles are counted from one beyond the border, whose mapping is that of the
  # tile inside.
  inside = [np.clip(tile + i - 1, 0, _TILES - 1) for i in (0, 1)]
  return list(zip(inside, (side - far, far), strict=True))
