"""The refinement net of DDAD-ASR: discrepancy maps in, anomaly logits out."""

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks


class RefineNet(nn.Module):
  """Three 3x3 convolutions at full resolution (ASR-Net, Cai et al. 2023).

  Attributes:
    width: channels of the two hidden layers.
    axis: where the batch is split over devices.
  """

  width: int = 128
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, maps: Float[Array, "b h w m"], train: bool
  ) -> Float[Array, "b h w 2"]:
    """Logits of normal and abnormal for every pixel, from unscaled maps."""
    x = maps
    for _ in range(2):
      x = blocks.Conv3x3(self.width)(x)
      x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    return blocks.Conv3x3(2)(x)
