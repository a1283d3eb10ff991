"""Square holes, as context encoders fill them (CeAE)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def erase(
  key: PRNGKeyArray, image: Float[Array, "h w c"], share: float
) -> Float[Array, "h w c"]:
  """One square of -1 in all channels, anywhere within the image.

  Args:
    key: of this image.
    image: in [-1, 1].
    share: of the area, so that 0.024 is 10x10 of 64x64.

  Returns:
    The image with its hole.
  """
  h, w, _ = image.shape
  side = round(math.sqrt(share * h * w))
  corner = jax.random.randint(
    key, (2,), 0, jnp.array([h - side + 1, w - side + 1])
  )
  rows, columns = jnp.ogrid[:h, :w]
  hole = (
    (rows >= corner[0])
    & (rows < corner[0] + side)
    & (columns >= corner[1])
    & (columns < corner[1] + side)
  )
  return jnp.where(hole[..., None], -1.0, image)
