"""Coarse noise, as the denoising autoencoder learns to remove it."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from medad_jax.interpolation import corners_on_corners


def coarse_noise(
  drawn: Float[Array, "b g g c"],
  sides: tuple[int, int],
  shift: Int[Array, "2"],
) -> Float[Array, "b h w c"]:
  """Noise of a coarse grid at the size of an image, rolled around.

  Kascenas et al., MIDL 2022. Values between the grid's are linear, and its
  corners lie on the image's corners.

  Args:
    drawn: noise at the places of the grid.
    sides: height and width of the image.
    shift: rows and columns to roll by, the same for the whole batch.
  """
  fine = corners_on_corners(drawn, sides)
  return jnp.roll(fine, shift, axis=(1, 2))
