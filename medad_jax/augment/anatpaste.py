"""AnatPaste: a gray piece of an image blended into its anatomy.

Sato et al., Anatomy-aware self-supervised learning for anomaly detection in
chest radiographs, iScience 2023; in the setting of MedIAnomaly, which is the
same for every data set. `anatomy.masks` finds the anatomy.

Lengths that were published in pixels scale with the side, as in `cutpaste`.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
import numpy as np

from medad_jax import rng
from medad_jax.augment import cutpaste
from medad_jax.augment.jitter import luminance

_DIMMEST, _BRIGHTEST = 150, 254  # the largest weight of the piece, of 255
# At the published side:
_WIDEST = 14  # the standard deviation of the blur
_MARGIN = 10  # from the border of the piece to that of the drawn shape
_STRAY = 255  # where centers end without anatomy: beyond the image


def anatpaste(
  key: PRNGKeyArray,
  image: Float[Array, "h w c"],
  anatomy: Bool[Array, "h w"],
  strength: float = 0.1,
) -> Float[Array, "h w c"]:
  """A piece as `cutpaste.patch` cuts it, in gray, blended in around a center.

  The center is uniform in the anatomy, and nothing changes outside of the
  anatomy. Where there is none, the whole image stands for it and the center is
  uniform in a square that reaches 31 of 224 pixels beyond the image, as in the
  published code.

  The weight of the piece is an ellipse or a rectangle (one half each) that is
  blurred by 0 to 14 pixels of 224. Where the blur reaches beyond the piece it
  blends black in.

  Args:
    key: this image's key.
    image: square RGB of side 32 or more, whole numbers in 0 .. 255.
    anatomy: where an anomaly may be; perhaps nowhere.
    strength: of the piece's color jitter; 0 is none.

  Returns:
    The blended image, whole numbers in 0 .. 255.

  Raises:
    UserError: the image is not square, not RGB, or too small.
  """
  side = cutpaste.checked_side(image)
  piece, size = cutpaste.cut(rng.stream(key, "cut"), image, strength)
  middle, anatomy = center(rng.stream(key, "center"), anatomy)
  opacity = weight(rng.stream(key, "weight"), side, middle, size) * anatomy
  canvas = cutpaste.put(
    jnp.zeros((side, side, 1)),
    luminance(jnp.moveaxis(piece, -1, 0))[..., None],
    middle - size // 2,
    size,
  )
  opacity = opacity[..., None]
  mixed = (canvas * opacity + image * (255 - opacity)) / 255
  return jnp.floor(mixed + 0.5)


def center(
  key: PRNGKeyArray, anatomy: Bool[Array, "s s"]
) -> tuple[Int[Array, "2"], Bool[Array, "s s"]]:
  """Row and column of a piece's center, and where the piece may be seen."""
  counts = jnp.sum(anatomy, 1)
  total = jnp.sum(counts)
  # The place-th pixel of the anatomy: its row, then its column.
  place = jax.random.randint(
    rng.stream(key, "inside"), (), 0, jnp.maximum(total, 1)
  )
  until = jnp.cumsum(counts)
  row = jnp.argmax(until > place)
  place = place - (until[row] - counts[row])
  column = jnp.argmax(jnp.cumsum(anatomy[row]) > place)
  inside = jnp.stack([row, column]).astype(jnp.int32)
  anywhere = jax.random.randint(
    rng.stream(key, "anywhere"), (2,), 0, _pixels(_STRAY, anatomy.shape[0])
  )
  empty = total == 0
  return jnp.where(empty, anywhere, inside), anatomy | empty


def weight(
  key: PRNGKeyArray, side: int, middle: Int[Array, "2"], size: Int[Array, "2"]
) -> Float[Array, "s s"]:
  """The piece's weight in 0 .. 254, of 255, from its center and its size."""
  sigma = jax.random.randint(
    rng.stream(key, "blur"), (), 0, _pixels(_WIDEST, side) + 1
  )
  level = jax.random.randint(
    rng.stream(key, "level"), (), _DIMMEST, _BRIGHTEST + 1
  )
  oval = jax.random.bernoulli(rng.stream(key, "shape"))
  half = size // 2 - _pixels(_MARGIN, side)
  drawn = jnp.where(shape(side, middle, half, oval), level, 0)
  return blur(drawn.astype(jnp.float32), sigma)


def shape(
  side: int,
  middle: Int[Array, "2"],
  half: Int[Array, "2"],
  oval: Bool[Array, ""],
) -> Bool[Array, "s s"]:
  """A filled ellipse or rectangle, as Pillow draws them.

  Args:
    side: of the canvas.
    middle: row and column, perhaps outside.
    half: axes, without the pixel at the center. The smallest pieces make them
      negative: then there is no ellipse, and a rectangle of their size. (So
      did Pillow up to 9.4, which the published code needs; later ones refuse.)
    oval: an ellipse, not a rectangle.
  """
  y, x = (jnp.arange(side) - at for at in middle)
  axes = half + 0.5
  ellipse = ((y / axes[0]) ** 2)[:, None] + ((x / axes[1]) ** 2)[None, :] <= 1
  rows, columns = jnp.abs(y) <= abs(half[0]), jnp.abs(x) <= abs(half[1])
  rectangle = rows[:, None] & columns[None, :]
  return jnp.where(oval, ellipse & jnp.all(half >= 0), rectangle)


def blur(
  image: Float[Array, "s s"], sigma: Int[Array, ""]
) -> Float[Array, "s s"]:
  """Pillow's Gaussian blur: three box filters, the border repeated.

  Pillow rounds to whole numbers after each filter, this once at the end: what
  becomes of a shape of one value differs by 1 at most.

  Args:
    image: values in 0 .. 255.
    sigma: whole, from 0 to 14 at side 224 (to that share of another side).
  """
  filters = jnp.asarray(_filters(image.shape[0]))[sigma]
  product = functools.partial(jnp.matmul, precision="highest")
  return jnp.round(product(product(filters, image), filters.T))


def _pixels(published: int, side: int) -> int:
  return round(published * side / cutpaste.PUBLISHED_SIDE)


@functools.cache
def _filters(side: int) -> np.ndarray:
  """[sigma s s]: blurs of one side of an image, by whole sigmas from 0."""
  sigmas = range(_pixels(_WIDEST, side) + 1)
  once = (_box_filter(side, sigma) for sigma in sigmas)
  cubed = [np.linalg.matrix_power(one, 3) for one in once]
  return np.stack(cubed).astype(np.float32)


def _box_filter(side: int, sigma: int) -> np.ndarray:
  """[s s]: one of the three box filters, of a radius that is not whole.

  Gwosdek et al., Theoretical foundations of Gaussian convolution by extended
  box filtering, SSVM 2011: the variance of each is a third of the Gaussian's.
  """
  variance = sigma**2 / 3
  whole = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
  rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
  rest /= 6 * (variance - (whole + 1) ** 2)
  matrix = np.zeros((side, side))
  rows = np.arange(side)
  for offset in range(-whole - 1, whole + 2):
    columns = np.clip(rows + offset, 0, side - 1)
    matrix[rows, columns] += 1 if abs(offset) <= whole else rest
  return matrix / (2 * (whole + rest) + 1)
