"""AE: a plain convolutional autoencoder, the baseline of the others.

Paper: the backbone of DDAD-ASR, Cai et al., Medical Image Analysis 2023, arXiv
2210.04227. Scored: the squared reconstruction error. As the official code:
Adam with first decay 0.5, last weights kept, nothing augmented.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction
from medad_jax.nets import autoencoder


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Reconstruction):
  """Hyper-parameters of AE."""

  def net(self, axis):
    """The plain autoencoder."""
    return autoencoder.Autoencoder(
      self.width, self.latent, self.hidden, axis=axis
    )

  def loss(self, params, extra, batch, context):
    """Squared error."""
    out, extra = self.apply(params, extra, batch, context)
    loss = jnp.mean(losses.squared_error(out["x_hat"], batch["image"]))
    return loss, (extra, {})
