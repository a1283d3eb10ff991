"""Constrained AE: image and reconstruction have the same code.

Paper: Chen & Konukoglu, MIDL 2018, arXiv 1806.04972, as in MedIAnomaly (Cai et
al., Medical Image Analysis 2025, arXiv 2404.04518). Scored: the squared
reconstruction error.

As the official code of MedIAnomaly: both terms of the loss weigh the same and
no gradient is stopped; running statistics of the encoder see images and
reconstructions, and those of the decoder's hidden layer both codes.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of the constrained AE."""

  def apply(self, params, extra, image, context):
    """Encodes the reconstruction, too."""
    return super().apply(params, extra, image, context, twice=True)

  def objective(self, out, image):
    """Squared errors of image and code."""
    error = jnp.mean(losses.squared_error(out["x_hat"], image))
    # Without stop_gradient, as in the official code: both codes move.
    latent = jnp.mean((out["latent"] - out["latent_hat"]) ** 2)
    return error + latent, {"error": error, "latent": latent}
