"""AE-Spatial: the autoencoder whose code keeps its places.

Paper: MedIAnomaly, Cai et al., Medical Image Analysis 2025, arXiv 2404.04518
(after Baur et al., Medical Image Analysis 2021). Scored: the squared
reconstruction error. The layers around the code are 1x1 convolutions without
biases. Older scripts of the authors used latent 1 or 2 and hidden 64; their
latest use those of the other autoencoders.
"""

import dataclasses

from medad_jax.methods import _reconstruction
from medad_jax.weights import names


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of AE-Spatial."""

  def net(self, axis):
    """The autoencoder with a code at every place."""
    return self.autoencoder(axis, bottleneck="spatial")

  def table(self):
    """MedIAnomaly's names; the dense layers are convolutions 1x1."""
    return names.autoencoder(self.down_depth, self.up_depth, "spatial")
