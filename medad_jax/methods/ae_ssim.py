"""AE-SSIM: the autoencoder with the structural similarity.

Paper: Bergmann et al., VISAPP 2019, arXiv 1807.02011, as in MedIAnomaly (Cai et
al., Medical Image Analysis 2025, arXiv 2404.04518). Scored: 1 - SSIM.

As the official code of MedIAnomaly: windows of 11x11 lie within the image, and
their map, 10 pixels smaller, is stretched to the image's size. That moves what
lies at the border by up to 5 pixels; `registered` leaves the map in its place
and repeats its edge instead.
"""

import dataclasses

import jax
import jax.numpy as jnp

from medad_jax import losses
from medad_jax.methods import _reconstruction


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of AE-SSIM.

  Attributes:
    registered: whether map and image lie on each other.
  """

  registered: bool = False

  # DDAD compares reconstructions itself and never asks for `error`.
  alone = (*_reconstruction.Autoencoding.alone, "registered")

  def objective(self, out, image):
    """Mean of 1 - SSIM."""
    return jnp.mean(losses.dissimilarity(out["x_hat"], image)), {}

  def error(self, image, x_hat, variance):
    """1 - SSIM, at the image's size."""
    del variance
    map_ = jnp.mean(losses.dissimilarity(x_hat, image), -1)
    if not self.registered:
      # As published; see the module's docstring.
      return jax.image.resize(map_, image.shape[:3], "bilinear")
    # Windows of 11x11 leave out 5 pixels at each edge.
    edge = (image.shape[1] - map_.shape[1]) // 2
    return jnp.pad(map_, ((0, 0), (edge, edge), (edge, edge)), "edge")
