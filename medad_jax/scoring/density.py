"""Densities of normal features, in closed form; scores are distances to them.

They are fitted once, on the host. The arrays of a fit go into a checkpoint, and
scores are computed from them on the device.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from medad_jax import types

_TINY = 1e-12
Params = dict[str, np.ndarray] | dict[str, jax.Array]


def normalize(features: Float[Array, "b d"]) -> Float[Array, "b d"]:
  """Features divided by their length, by 1e-12 where they are shorter."""
  length = jnp.linalg.norm(features, axis=-1, keepdims=True)
  return features / jnp.maximum(length, _TINY)


def gaussian(
  features: Float[np.ndarray, "n d"],
  inverse: Literal["cutoff", "full"] = "cutoff",
) -> dict[str, np.ndarray]:
  """A Gaussian with a shrunk covariance, for `mahalanobis`.

  The covariance is that of Ledoit & Wolf, "A well-conditioned estimator for
  large-dimensional covariance matrices", 2004, fitted in float64.

  MedIAnomaly's code fits float32 features, and scikit-learn then inverts the
  covariance by a pseudo-inverse in float32. That drops every direction whose
  eigenvalue is at most d * eps(float32) times the largest: 142 of the 512
  directions of CutPaste's features on Brain Tumor after 30 steps. The choice
  decides the score: there the AUROC is 0.494 with the cut-off and 0.531 with
  the full inverse. The same cut-off in float64 reproduces the distances of that
  code within 2e-5, relative.

  Args:
    features: one row an image.
    inverse: "cutoff" as published, or "full" to keep all directions.

  Returns:
    "mean" [d] and "whitening" [d d], float32. Whitened features have the
    identity as their covariance; dropped directions are columns of zeros.

  Raises:
    UserError: fewer than two images.
  """
  # Only the fit needs it: scoring does without.
  from sklearn import covariance

  _check_count(features)
  fitted = covariance.LedoitWolf().fit(features.astype(np.float64))
  values, vectors = np.linalg.eigh(fitted.covariance_)
  # The limit of scipy.linalg.pinvh in float32.
  limit = len(values) * np.finfo(np.float32).eps * values[-1]
  kept = values > (limit if inverse == "cutoff" else 0)
  scales = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
  return {
    "mean": fitted.location_.astype(np.float32),
    "whitening": (vectors * scales).astype(np.float32),
  }


def mahalanobis(
  params: Params, features: Float[Array, "b d"]
) -> Float[Array, "b"]:
  """Distance to the mean of `gaussian`, in units of its deviations."""
  centered = features - params["mean"]
  # The length of whitened features rounds less than a product with the inverse
  # covariance, whose entries differ more in size.
  whitened = jnp.matmul(centered, params["whitening"], precision="highest")
  return jnp.linalg.norm(whitened, axis=-1)


def kernel(features: Float[np.ndarray, "n d"]) -> dict[str, np.ndarray]:
  """A Gaussian of deviation 1 at each image, for `kernel_score`.

  Args:
    features: one row an image.

  Returns:
    "points" [n d], float32.

  Raises:
    UserError: fewer than two images.
  """
  _check_count(features)
  return {"points": features.astype(np.float32)}


def kernel_score(
  params: Params, features: Float[Array, "b d"]
) -> Float[Array, "b"]:
  """-ln of the density of `kernel`, in nats."""
  points = jnp.asarray(params["points"])
  count, dimensions = points.shape
  # Distances from products, as all differences would be [b n d]; what is near
  # the origin loses the least to rounding.
  middle = jnp.mean(points, 0)
  points, features = points - middle, features - middle
  products = jnp.matmul(features, points.T, precision="highest")
  squares = jnp.sum(points**2, -1) - 2 * products
  squares += jnp.sum(features**2, -1, keepdims=True)
  nearest = jax.nn.logsumexp(-jnp.maximum(squares, 0) / 2, axis=1)
  return math.log(count) + dimensions / 2 * math.log(2 * math.pi) - nearest


def _check_count(features):
  if len(features) < 2:
    raise types.UserError(
      f"a density of {len(features)} training images was asked for: give two or"
      " more"
    )
