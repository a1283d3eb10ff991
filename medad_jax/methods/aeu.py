"""AE-U: an autoencoder that also predicts each pixel's variance.

Paper: Mao et al., MICCAI 2020, arXiv 2007.00229, as used by DDAD-ASR (Cai et
al., arXiv 2210.04227) and MedIAnomaly (Cai et al., arXiv 2404.04518). Scored:
the squared reconstruction error divided by the predicted variance. As in their
official code, there are no factors of one half, and the log-variance is
unbounded, so that training may diverge (the loss is then not finite).
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of AE-U."""

  def net(self, axis):
    """The autoencoder with two outputs."""
    return self.autoencoder(axis, variance=True)

  def objective(self, out, image):
    """Error in units of the predicted variance, and its logarithm."""
    # exp(-s) (x - x_hat)^2 + s with s = log_var: twice the negative Gaussian
    # log-likelihood, up to a constant.
    loss = losses.heteroscedastic_error(out["x_hat"], out["log_var"], image)
    return jnp.mean(loss), {"log_var": jnp.mean(out["log_var"])}
