"""A Gaussian of the features at each position of an image.

PaDiM (Defard et al., "PaDiM: a Patch Distribution Modeling Framework for
Anomaly Detection and Localization", ICPR 2021 workshops).
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

_SHRINKAGE = 0.01  # of the mean variance, added to every variance


class Moments:
  """Mean and covariance at each position, from a stream of features.

  The published method adds 0.01 to the variances, which suits one net's
  features. Here it is 0.01 of a position's mean variance, so that the scale of
  the features does not matter.
  """

  def __init__(self):
    self._count = 0
    self._first: Any = None
    self._sum: Any = 0.0
    self._products: Any = 0.0

  def add(self, features: Float[np.ndarray, "n p d"]) -> None:
    """Adds the features of some images."""
    turned = features.transpose(1, 0, 2).astype(np.float64)
    if self._first is None:
      # Near the mean: raw second moments would lose digits.
      self._first = turned.mean(1, keepdims=True)
    turned -= self._first
    self._count += turned.shape[1]
    self._sum += turned.sum(1)
    self._products += turned.transpose(0, 2, 1) @ turned

  def estimate(self) -> dict[str, Float[np.ndarray, "p ..."]]:
    """ "mean" [p d] and "whitening" [p d d], float32.

    Whitened features have the identity as their covariance.
    """
    mean = self._sum / self._count
    covariance = self._products - self._count * mean[:, :, None] * mean[:, None]
    covariance /= max(self._count - 1, 1)
    variance = np.diagonal(covariance, 0, 1, 2)
    # A position without any variance still needs an inverse.
    added = _SHRINKAGE * variance.mean(1) + 1e-12
    covariance += added[:, None, None] * np.eye(covariance.shape[-1])
    factor = np.linalg.cholesky(covariance)
    whitening = np.linalg.inv(factor).transpose(0, 2, 1)
    return {
      "mean": (self._first[:, 0] + mean).astype(np.float32),
      "whitening": whitening.astype(np.float32),
    }


def mahalanobis(
  params: Mapping[str, Array | np.ndarray],
  features: Float[Array | np.ndarray, "b p d"],
) -> Float[Array, "b p"]:
  """Distance to each position's mean, in units of its deviations."""
  centered = features - params["mean"]
  whitened = jnp.einsum(
    "bpd,pde->bpe", centered, params["whitening"], precision="highest"
  )
  return jnp.linalg.norm(whitened, axis=-1)
