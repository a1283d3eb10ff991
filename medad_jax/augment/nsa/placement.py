"""Places that a patch is taken from, and places that it goes to.

The published code guesses a place and rejects it, at most 200 times. Here all
places are judged at once and one of the good ones is drawn, with the same law:
uniform on the good ones, and nothing with the probability that all guesses
would have been bad.
"""

from fractions import Fraction

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int, PRNGKeyArray

from medad_jax import rng
from medad_jax.augment.nsa import medians


def objects(image: Float[Array, "t t"], background: int) -> Bool[Array, "t t"]:
  """Mask of the objects: brighter than the background, then smoothed."""
  return medians.box_median(image > background, 7)


def totals(mask: Bool[Array, "t t"]) -> Int[Array, "t+1 t+1"]:
  """The integral image: how many pixels are True above and left of a corner."""
  counts = jnp.cumsum(jnp.cumsum(mask, 0, jnp.int32), 1, jnp.int32)
  return jnp.pad(counts, ((1, 0), (1, 0)))


def spectrum(mask: Bool[Array, "t t"]) -> Complex[Array, "t f"]:
  """The Fourier transform that `destination` compares a patch with."""
  return jnp.fft.rfft2(mask.astype(jnp.float32))


def half_sizes(
  key: PRNGKeyArray,
  side: int,
  bounds: tuple[int, int],
  gamma: tuple[int, float, float],
) -> Int[Array, "2"]:
  """Half of a box's height and of its width, in pixels, independent.

  `floor(clip((offset + Gamma(shape, scale)) * side, low, high))`.

  Args:
    key: of this patch.
    side: of the image, in pixels.
    bounds: low and high, in pixels.
    gamma: shape (a whole number), scale and offset, as shares of the side.
  """
  shape, scale, offset = gamma
  # A gamma law of whole shape is a sum of exponential ones.
  drawn = scale * jax.random.exponential(key, (shape, 2)).sum(0)
  return jnp.clip((offset + drawn) * side, *bounds).astype(jnp.int32)


def source(
  key: PRNGKeyArray,
  counts: Int[Array, "m m"],
  half: Int[Array, "2"],
  margin: int,
  share: float,
  tries: int | Int[Array, ""],
) -> tuple[Int[Array, "2"], Int[Array, "2"], Bool[Array, ""]]:
  """A box around a center, cut at the image's border, with enough object.

  Args:
    key: of this patch.
    counts: `totals` of the source's objects.
    half: half of the box's height and width.
    margin: the least distance of a center from the border, in pixels.
    share: of the box's pixels, which must be exceeded by its objects.
    tries: guesses a place is worth.

  Returns:
    Top and left, height and width, and whether there is such a box.
  """
  side = counts.shape[0] - 1
  centers = jnp.arange(margin, side - margin)
  start = jnp.maximum(centers[:, None] - half, 0)
  stop = jnp.minimum(centers[:, None] + half, side)
  rows = counts[stop[:, 0]] - counts[start[:, 0]]
  inside = rows[:, stop[:, 1]] - rows[:, start[:, 1]]
  length = stop - start
  good = _exceeds(inside, length[:, :1] * length[:, 1], share)
  place, found = draw(key, good, good.size, tries)
  axes = jnp.arange(2)
  return start[place, axes], length[place, axes], found


def resize(
  key: PRNGKeyArray,
  size: Int[Array, "2"],
  bounds: tuple[int, int],
  scales: tuple[float, float],
  spread: float,
) -> Int[Array, "2"]:
  """Another height and width, about the same ratio.

  Args:
    key: of this patch.
    size: height and width in pixels.
    bounds: of the new ones, in pixels.
    scales: least and largest.
    spread: deviation of the scale, normal around 1, before it is clipped.
  """
  scale = jnp.clip(1 + spread * jax.random.normal(key), *scales)
  height = jnp.clip(scale * size[0], *bounds)
  # Products that are whole numbers stay so: float32 may fall short of them.
  width = jnp.floor(height / size[0] * size[1] + 1e-4).astype(jnp.int32)
  width = jnp.clip(width, *bounds)
  return jnp.stack([jnp.clip(width * size[0] // size[1], *bounds), width])


def destination(
  key: PRNGKeyArray,
  patch: Bool[Array, "k k"],
  size: Int[Array, "2"],
  image: Complex[Array, "t f"],
  shares: tuple[float, float],
  tries: int | Int[Array, ""],
) -> tuple[Int[Array, "2"], Bool[Array, ""]]:
  """A place where a patch's objects fall on the image's.

  The box stays a pixel away from the border (two from its end, if even).

  Args:
    key: of this patch.
    patch: its objects, False outside its box at the top left.
    size: height and width of the box.
    image: `spectrum` of the image's objects.
    shares: of the box's pixels, which its objects must exceed; and of those,
      which must fall on the image's objects.
    tries: guesses a place is worth.

  Returns:
    Top and left of the box, and whether there is such a place.
  """
  side = image.shape[0]
  # All shifts at once. They wrap around, but not at those that are admitted.
  shifted = jnp.fft.rfft2(patch.astype(jnp.float32), (side, side)).conj()
  overlap = jnp.fft.irfft2(shifted * image, (side, side))
  overlap = jnp.round(overlap).astype(jnp.int32)
  places = side - 2 - 2 * (size // 2)
  shift = jnp.arange(side)[:, None]
  admitted = (shift >= 1) & (shift <= places)
  count = patch.sum(dtype=jnp.int32)
  good = admitted[:, :1] & admitted[:, 1] & _exceeds(overlap, count, shares[1])
  good &= _exceeds(count, size[0] * size[1], shares[0])
  return draw(key, good, places[0] * places[1], tries)


def draw(
  key: PRNGKeyArray,
  good: Bool[Array, "m n"],
  places: int | Int[Array, ""],
  tries: int | Int[Array, ""],
) -> tuple[Int[Array, "2"], Bool[Array, ""]]:
  """A draw with the law of guessing uniformly among all places.

  Args:
    key: of this search.
    good: the places that are taken when guessed.
    places: how many can be guessed; the others are not good.
    tries: after so many bad guesses the search fails.

  Returns:
    A good place, row and column, uniform; and whether the search finds one.
  """
  rows = jnp.cumsum(good.sum(1, dtype=jnp.int32))
  count = rows[-1]
  rank = jax.random.randint(
    rng.stream(key, "rank"), (), 0, jnp.maximum(count, 1)
  )
  row = jnp.minimum((rows <= rank).sum(), len(rows) - 1)
  columns = jnp.cumsum(good[row].astype(jnp.int32))
  column = (columns <= rank - (rows[row] - columns[-1])).sum()
  column = jnp.minimum(column, len(columns) - 1)
  chance = -jnp.expm1(tries * jnp.log1p(-count / places))
  found = jax.random.uniform(rng.stream(key, "found")) < chance
  return jnp.stack([row, column]), found


def _exceeds(part, whole, share):
  """part / whole > share, in whole numbers: shares are often met exactly."""
  ratio = Fraction(share).limit_denominator(10_000)
  return part * ratio.denominator > whole * ratio.numerator
