"""MemAE: an autoencoder whose code is a mixture of stored codes.

Paper: Gong et al., ICCV 2019, arXiv 1904.02639, as used by DDAD-ASR (Cai et
al., arXiv 2210.04227) and MedIAnomaly (Cai et al., arXiv 2404.04518). Scored:
the squared reconstruction error. As in their official code, there are 25 items
and attention uses plain inner products. The threshold is 0 in DDAD-ASR, so that
attention is neither shrunk nor rescaled, and 0.0025 in MedIAnomaly, far below
the 0.04 of an even mixture.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction
from medad_jax.ranges import FixedPart, Weight, Width


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of MemAE.

  Attributes:
    slots: items in memory.
    threshold: attention below which an item is not used, 0 to use all.
    entropy_weight: weight of the attention's entropy in the loss.
  """

  slots: Width = 25
  threshold: FixedPart = 0.0
  entropy_weight: Weight = 2e-4

  def net(self, axis):
    """The autoencoder with memory."""
    return self.autoencoder(axis, slots=self.slots, threshold=self.threshold)

  def objective(self, out, image):
    """Squared error and a little of the attention's entropy."""
    error = jnp.mean(losses.squared_error(out["x_hat"], image))
    # Equation 9 of the paper: a small entropy means few items.
    entropy = jnp.mean(losses.attention_entropy(out["attention"]))
    metrics = {"error": error, "entropy": entropy}
    return error + self.entropy_weight * entropy, metrics
