"""MemAE with the net of its own code, for images instead of videos.

Paper: Gong et al., ICCV 2019, arXiv 1904.02639. Scored: the squared
reconstruction error. DDAD-ASR's and MedIAnomaly's variant is `memae`.

As the official code, with convolutions of two dimensions for three: the memory
of 2000 items mixes the features of every place by itself, attention below
0.0025 is cut, and the score of videos (a per-video scale) is left out. At the
start only about one place in five has attention above that threshold for any
item. The other places decode from zero and give the encoder no gradient, so
that with fewer items the threshold should be one to three times their even
share ("live" in metrics.jsonl is the share of places that use some item).
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import losses, types
from medad_jax.methods import _reconstruction
from medad_jax.nets.memory_autoencoder import MemoryAutoencoder
from medad_jax.ranges import FixedPart, Weight, Width
from medad_jax.training import Length, Optimizer
from medad_jax.weights import gan_names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(_reconstruction.Coding):
  """Hyper-parameters of the original MemAE.

  Attributes:
    channels: of the encoder's levels.
    slots: items in memory.
    threshold: attention below which an item is not used, 0 to use all.
    entropy_weight: weight of the attention's entropy in the loss.
  """

  channels: tuple[Width, ...] = (96, 128, 256, 256)
  slots: Width = 2000
  threshold: FixedPart = 0.0025
  entropy_weight: Weight = 2e-4
  length: Length = Length(epochs=100, batch_size=14)
  optimizer: Optimizer = Optimizer(learning_rate=1e-4)

  looped = False  # its convolutions are XLA's

  def __post_init__(self):
    if not self.channels:
      raise types.UserError(
        "model.channels=() was given; name a level or more."
      )

  @property
  def code_length(self):
    """Channels of the features before the memory."""
    return self.channels[-1]

  def net(self, axis):
    """The autoencoder with memory."""
    return MemoryAutoencoder(self.channels, self.slots, self.threshold, axis)

  def table(self):
    """The names of its own code."""
    return gan_names.memory_autoencoder(len(self.channels))

  def objective(self, out, image):
    """Squared error and a little of the attention's entropy."""
    # Every place has attention of its own; the entropy is a mean over places.
    attention = out["attention"].reshape(-1, self.slots)
    error = jnp.mean(losses.squared_error(out["x_hat"], image))
    entropy = jnp.mean(losses.attention_entropy(attention))
    metrics = {
      "error": error,
      "entropy": entropy,
      "live": jnp.mean(jnp.any(attention > 0, -1)),
    }
    return error + self.entropy_weight * entropy, metrics
