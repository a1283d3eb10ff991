"""AE-U: an autoencoder that also predicts each pixel's variance.

Paper: Mao et al., MICCAI 2020, arXiv 2007.00229, as used by DDAD-ASR (Cai et
al., arXiv 2210.04227). Scored: the squared reconstruction error divided by the
predicted variance. As the official code of DDAD-ASR: no factors one half, and
the log-variance is unbounded, so that a training may diverge (the loss is then
not finite).
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction
from medad_jax.nets import autoencoder


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Reconstruction):
  """Hyper-parameters of AE-U."""

  def net(self, axis):
    """The autoencoder with two outputs."""
    return autoencoder.Autoencoder(
      self.width, self.latent, self.hidden, variance=True, axis=axis
    )

  def loss(self, params, extra, batch, context):
    """Error in units of the predicted variance, and its logarithm."""
    out, extra = self.apply(params, extra, batch, context)
    loss = losses.heteroscedastic_error(
      out["x_hat"], out["log_var"], batch["image"]
    )
    metrics = {"log_var": jnp.mean(out["log_var"])}
    return jnp.mean(loss), (extra, metrics)
