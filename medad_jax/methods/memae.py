"""MemAE: an autoencoder whose code is a mixture of stored codes.

Paper: Gong et al., ICCV 2019, arXiv 1904.02639, as used by DDAD-ASR (Cai et
al., arXiv 2210.04227). Scored: the squared reconstruction error. As the
official code of DDAD-ASR: 25 items, attention by plain inner products, and a
threshold of 0, so that attention is neither shrunk nor rescaled.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction
from medad_jax.nets import autoencoder


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Reconstruction):
  """Hyper-parameters of MemAE.

  Attributes:
    slots: items in memory.
    threshold: attention below which an item is not used, 0 to use all.
    entropy_weight: weight of the attention's entropy in the loss.
  """

  slots: int = 25
  threshold: float = 0.0
  entropy_weight: float = 2e-4

  def net(self, axis):
    """The autoencoder with memory."""
    return autoencoder.Autoencoder(
      self.width,
      self.latent,
      self.hidden,
      slots=self.slots,
      threshold=self.threshold,
      axis=axis,
    )

  def loss(self, params, extra, batch, context):
    """Squared error and a little of the attention's entropy."""
    out, extra = self.apply(params, extra, batch, context)
    error = jnp.mean(losses.squared_error(out["x_hat"], batch["image"]))
    entropy = jnp.mean(losses.attention_entropy(out["attention"]))
    metrics = {"error": error, "entropy": entropy}
    return error + self.entropy_weight * entropy, (extra, metrics)
