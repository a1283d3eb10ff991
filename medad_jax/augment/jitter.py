"""Color jitter of 8-bit images: brightness, contrast, saturation and hue.

What torchvision's ColorJitter does to a Pillow image: each of the four changes
ends in whole numbers, so their order matters, and gray stays gray.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from medad_jax import rng, types

# The three changes that blend an image with a duller one.
BRIGHTNESS, CONTRAST, SATURATION = range(3)


def jitter(
  key: PRNGKeyArray,
  image: Float[Array, "h w c"],
  strength: float = 0.1,
  where: Bool[Array, "h w"] | None = None,
) -> Float[Array, "h w c"]:
  """All four changes in a random order, each order equally likely.

  Args:
    key: this image's key.
    image: RGB, whole numbers in 0 .. 255.
    strength: the factors of brightness, contrast and saturation are uniform in
      1 - strength .. 1 + strength, the turn of the hue in -strength .. strength
      of a circle; at most 0.5, and 0 changes nothing.
    where: the pixels whose mean is the middle of the contrast; all by default.

  Returns:
    The jittered image, whole numbers in 0 .. 255.

  Raises:
    UserError: the image has not three channels, or `strength` is out of range.
  """
  if image.shape[-1] != 3:
    raise types.UserError(
      f"An image of shape {image.shape} was given to color jitter, which is for"
      " RGB: load it with 3 channels."
    )
  if not 0 <= strength <= 0.5:
    raise types.UserError(
      f"strength={strength} was given for color jitter; set it in 0 .. 0.5."
    )
  if strength == 0:
    return image
  factors = jax.random.uniform(
    rng.stream(key, "factors"), (3,), minval=1 - strength, maxval=1 + strength
  )
  turn = jax.random.uniform(
    rng.stream(key, "turn"), minval=-strength, maxval=strength
  )
  kinds = jax.random.permutation(rng.stream(key, "kinds"), 3)
  before = jax.random.randint(rng.stream(key, "before"), (), 0, 4)
  return change(image, kinds, factors, turn, before, where)


def change(
  image: Float[Array, "h w 3"],
  kinds: Int[Array, "3"],
  factors: Float[Array, "3"],
  turn: Float[Array, ""],
  before: Int[Array, ""],
  where: Bool[Array, "h w"] | None = None,
) -> Float[Array, "h w 3"]:
  """The three blends in the order of `kinds`, the hue after `before` of them.

  A switch under `vmap` computes all its branches. So a blend that has its turn
  on the other side of the hue runs here too, with the factor 1, which changes
  nothing; the hue, which is the long one, runs once.

  Args:
    image: whole numbers in 0 .. 255.
    kinds: a permutation of BRIGHTNESS, CONTRAST and SATURATION.
    factors: by kind.
    turn: of the hue, as a share of the circle.
    before: how many blends come before the hue.
    where: as in `jitter`.
  """
  factors = factors[kinds]
  first = jnp.arange(3) < before
  planes = jnp.moveaxis(image, -1, 0)
  planes = _blends(planes, kinds, jnp.where(first, factors, 1), where)
  planes = hue(planes, turn)
  planes = _blends(planes, kinds, jnp.where(first, 1, factors), where)
  return jnp.moveaxis(planes, 0, -1)


def blend(
  planes: Float[Array, "3 h w"],
  kind: Int[Array, ""],
  factor: Float[Array, ""],
  where: Bool[Array, "h w"] | None = None,
) -> Float[Array, "3 h w"]:
  """`factor` times the way from a duller image to the image, cut to integers.

  The duller image is black (BRIGHTNESS), flat at the rounded mean of the gray
  image (CONTRAST), or the gray image (SATURATION). A factor of 1 is exact.
  """
  gray = luminance(planes)
  mean = jnp.floor(jnp.mean(gray, where=where) + 0.5)
  dull = jnp.select([kind == CONTRAST, kind == SATURATION], [mean, gray], 0)
  blended = jnp.clip(dull + factor * (planes - dull), 0, 255)
  return jnp.floor(blended)


def hue(
  planes: Float[Array, "3 h w"], turn: Float[Array, ""]
) -> Float[Array, "3 h w"]:
  """Turns the hue by a share of the circle, through HSV of 8 bits each."""
  r, g, b = planes
  value = jnp.maximum(jnp.maximum(r, g), b)
  chroma = value - jnp.minimum(jnp.minimum(r, g), b)
  # The hue in sixths of the circle, times the chroma: a whole number.
  sixths = jnp.select(
    [(value == r) & (g >= b), value == r, value == g],
    [g - b, 6 * chroma + g - b, 2 * chroma + b - r],
    4 * chroma + r - g,
  )
  angle = _quotient(255 * sixths, 6 * chroma) + jnp.trunc(255 * turn)
  angle = angle - 256 * jnp.floor(angle / 256)
  saturation = _quotient(255 * chroma, value) / 255

  def channel(sixth):
    # How far the hue is from this channel's, in sixths around the circle.
    place = sixth + angle * (6 / 255)
    place = place - jnp.where(place >= 6, 6, 0)
    share = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return jnp.floor(value * (1 - saturation * share) + 0.5)

  return jnp.stack([channel(sixth) for sixth in (5, 3, 1)])


def luminance(planes: Float[Array, "3 h w"]) -> Float[Array, "h w"]:
  """The gray image as Pillow computes it: ITU-R 601-2 in 16 binary digits.

  Whole numbers below 2^24 throughout, so float32 is exact.
  """
  r, g, b = planes
  return jnp.floor((19595 * r + 38470 * g + 7471 * b + 32768) / 65536)


def _blends(planes, kinds, factors, where):
  """One blend after the other.

  A loop because XLA leaves its result alone: it would fuse blends written out
  with whatever reads them (means, gathers) and compute them many times.
  """

  def one(planes, step):
    return blend(planes, *step, where), None

  return jax.lax.scan(one, planes, (kinds, factors))[0]


def _quotient(a, b):
  """Whole numbers divided and cut, exact in any rounding; 0 where b is 0."""
  return jnp.where(b == 0, 0, jnp.floor((a + 0.5) / jnp.maximum(b, 1)))
