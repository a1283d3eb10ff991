"""Smoothing of pixel maps."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np


def gaussian(
  maps: Float[Array, "*n h w"], deviation: float, cut: float = 4.0
) -> Float[Array, "*n h w"]:
  """Maps after a Gaussian filter whose weights sum to one.

  Beyond the border the image is mirrored, its border pixels included: SciPy's
  `gaussian_filter` in its default mode.

  Args:
    maps: one or more.
    deviation: of the Gaussian, in pixels.
    cut: deviations after which its weights end.
  """
  rows, columns = (
    jnp.asarray(_matrix(side, deviation, cut), maps.dtype)
    for side in maps.shape[-2:]
  )
  return jnp.einsum(
    "yi,...ij,xj->...yx", rows, maps, columns, precision="highest"
  )


def _matrix(side: int, deviation: float, cut: float) -> np.ndarray:
  """The filter along a line of `side` pixels, [side, side]."""
  radius = math.floor(cut * deviation + 0.5)
  offsets = np.arange(-radius, radius + 1)
  weights = np.exp(-(offsets**2) / (2 * deviation**2))
  weights /= weights.sum()
  found = np.zeros((side, side))
  for offset, weight in zip(offsets, weights, strict=True):
    # d c b a | a b c d | d c b a, as often as the radius needs.
    at = (np.arange(side) + offset) % (2 * side)
    found[np.arange(side), np.minimum(at, 2 * side - 1 - at)] += weight
  return found
