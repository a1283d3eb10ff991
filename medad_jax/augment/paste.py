"""Synthetic anomalies: a square of another image blended in."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from medad_jax import rng

_CORE = 0.8  # the share of a side where centers lie


def paste(
  key: PRNGKeyArray,
  image: Float[Array, "h w c"],
  source: Float[Array, "h w c"],
  chance: float = 0.5,
) -> tuple[Float[Array, "h w c"], Bool[Array, "h w"]]:
  """Blends a square of `source` into half of the images (Cai et al. 2023).

  With probability 1 - `chance` nothing changes. Otherwise a square of
  half-width 5% to 20% of the width (3 to 12 at 64 pixels), centered at 10% to
  90% of each side (6 to 56) and clipped at the border, becomes
  `(1 - alpha) * image + alpha * source` with alpha uniform in [0, 1).

  Args:
    key: this example's key.
    image: the image to change.
    source: another image of the same shape.
    chance: that there is a square.

  Returns:
    The image and the mask of the square.
  """
  height, width, _ = image.shape
  on = jax.random.uniform(rng.stream(key, "on")) > 1 - chance
  half = _integer(
    rng.stream(key, "half"), round(0.05 * width), round(0.2 * width)
  )
  alpha = jax.random.uniform(rng.stream(key, "alpha"), dtype=jnp.float32)
  rows = _near(rng.stream(key, "row"), height, half)
  columns = _near(rng.stream(key, "column"), width, half)
  mask = rows[:, None] & columns[None, :] & on & (alpha > 0)
  blend = (1 - alpha) * image + alpha * source
  return jnp.where(mask[..., None], blend, image), mask


def center_bounds(size: int) -> tuple[int, int]:
  """The first center of a side of `size` pixels, and the one after the last.

  The arithmetic is the official code's. Its rounding moves a bound by a pixel
  at some sides: of 100 pixels the first center is 9, not 10.
  """
  low = (1 - _CORE) * size / 2
  return int(low), int(low + _CORE * size)


def _near(key, size, half):
  """True at the positions [center - half, center + half) of a random center."""
  center = _integer(key, *center_bounds(size))
  position = jnp.arange(size)
  return (position >= center - half) & (position < center + half)


def _integer(key, low, high):
  """Uniform in low .. high - 1."""
  return jax.random.randint(key, (), low, high)
