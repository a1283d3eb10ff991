"""AE-L1: the autoencoder with the absolute error.

Paper: MedIAnomaly, Cai et al., Medical Image Analysis 2025, arXiv 2404.04518.
Scored: the absolute reconstruction error.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of AE-L1."""

  def objective(self, out, image):
    """Absolute error."""
    return jnp.mean(losses.absolute_error(out["x_hat"], image)), {}

  def error(self, image, x_hat, variance):
    """The absolute error."""
    del variance
    return jnp.mean(jnp.abs(image - x_hat), -1)
