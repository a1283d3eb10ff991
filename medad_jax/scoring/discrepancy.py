"""Discrepancy maps of ensembles (DDAD, Cai et al. 2023, section 3.2).

Ensembles come as reconstructions with members in front. Maps are means over
channels. Where the members of the normative ensemble predict variances, maps
are in units of the deviation they expect.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types


def member_maps(
  image: Float[Array, "b h w c"], preds: types.Preds
) -> Float[Array, "k b h w"]:
  """The error map of every member by itself.

  Args:
    image: what was reconstructed.
    preds: "x_hat" [k b h w c] and, where variances are predicted, "log_var".
  """
  error = (image - preds["x_hat"]) ** 2
  if "log_var" in preds:
    error *= jnp.exp(-preds["log_var"])
  return jnp.mean(error, axis=-1)


def error_map(
  image: Float[Array, "b h w c"],
  x_hat: Float[Array, "b h w c"],
  variance: Float[Array, "b h w c"] | None = None,
) -> Float[Array, "b h w"]:
  """(x - x_hat)^2, divided by the variance where there is one."""
  return _channel_mean((image - x_hat) ** 2, variance)


def inter_map(
  unknown: Float[Array, "k b h w c"],
  normative: Float[Array, "k b h w c"],
  variance: Float[Array, "b h w c"] | None = None,
) -> Float[Array, "b h w"]:
  """Inter-discrepancy: |mean of one ensemble - mean of the other|."""
  gap = jnp.abs(jnp.mean(unknown, 0) - jnp.mean(normative, 0))
  return _channel_mean(gap, _deviation(variance))


def intra_map(
  normative: Float[Array, "k b h w c"],
  variance: Float[Array, "b h w c"] | None = None,
) -> Float[Array, "b h w"]:
  """Intra-discrepancy: the deviation among the members of one ensemble.

  The paper divides by k inside the root, the official code by k - 1, as here:
  the refinement net's input scale depends on it.

  Raises:
    ValueError: fewer than two members, whose deviation is undefined.
  """
  if normative.shape[0] < 2:
    raise ValueError("the intra-discrepancy needs two members or more")
  return _channel_mean(jnp.std(normative, 0, ddof=1), _deviation(variance))


def mean_variance(preds: types.Preds) -> Float[Array, "b h w c"] | None:
  """Mean over members of their predicted variances; None if there are none."""
  if "log_var" not in preds:
    return None
  return jnp.mean(jnp.exp(preds["log_var"]), 0)


def image_score(pixels: Float[Array, "b h w"]) -> Float[Array, "b"]:
  """Mean over all pixels."""
  return jnp.mean(pixels, (1, 2))


def _deviation(variance):
  return None if variance is None else jnp.sqrt(variance)


def _channel_mean(x, scale):
  return jnp.mean(x if scale is None else x / scale, axis=-1)
