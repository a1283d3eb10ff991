"""CeAE: the autoencoder that fills holes.

Paper: Zimmerer et al., MIDL 2019, arXiv 1812.05941 (its denoising part), as in
MedIAnomaly (Cai et al., Medical Image Analysis 2025, arXiv 2404.04518). Scored:
the squared reconstruction error of the whole image, with no hole.
"""

import dataclasses

import jax

from medad_jax import rng
from medad_jax.augment.erase import erase
from medad_jax.methods import _reconstruction
from medad_jax.ranges import FixedPart


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of CeAE.

  Attributes:
    hole: share of the image that the square hole takes.
  """

  hole: FixedPart = 0.024

  def corrupt(self, batch, context):
    """A hole in every image."""
    keys = rng.per_example(rng.stream(context.key, "hole"), batch["slot"])
    # The loss compares the whole image, not only the hole.
    return jax.vmap(erase, (0, 0, None))(keys, batch["image"], self.hole)
