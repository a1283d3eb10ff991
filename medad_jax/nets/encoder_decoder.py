"""The encoder-decoder that segments synthetic anomalies.

Schlüter et al., ECCV 2022 (NSA), on chest X-rays: ResNet18 without its mean, a
bottleneck of 1x1 convolutions, three residual stages of transposed
convolutions, and no skip connections. Modules of the encoder are named as in
`nets/resnet.py`.
"""

import math

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.interpolation import corners_on_corners
from medad_jax.nets import blocks, ops, resnet

STRIDES = 32


class EncoderDecoder(nn.Module):
  """One number a pixel.

  Attributes:
    axis: where the batch is split over devices.
    width: channels of the first stage, a multiple of 4; those of all other
      stages are in proportion.
  """

  axis: types.Axis = types.Axis()
  width: int = 64

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b h w"]:
    """The map before its last function: logits where that is a sigmoid.

    Raises:
      UserError: a side is no multiple of 32, or the width none of 4.
    """
    self._check(image.shape[1:3])
    x = resnet.stages(image, train, self.axis, self.width)
    for place, channels in enumerate((4 * self.width, 2 * self.width)):
      x = nn.relu(blocks.Conv(channels, 1, name=f"reduce_{place}")(x))
    for level in range(3):
      block = UpBlock(self.width >> level, self.axis, name=f"up{level + 1}")
      x = block(x, train)
    # Linear between pixels, as PyTorch with `align_corners=True`.
    h, w = x.shape[1:3]
    x = corners_on_corners(x, (2 * h, 2 * w))
    return ConvTranspose(1, 7, name="transpose")(x)[..., 0]

  def _check(self, sides):
    if any(side % STRIDES for side in sides):
      raise types.UserError(
        f"images of {sides[0]}x{sides[1]} were given, but the encoder-decoder"
        f" halves them five times: set the image size to a multiple of"
        f" {STRIDES}"
      )
    if self.width % 4 or self.width < 4:
      raise types.UserError(
        f"width={self.width} was given, but the decoder ends with a quarter of"
        " it: set a multiple of 4"
      )


class UpBlock(nn.Module):
  """A basic block that doubles the sides, by transposed convolutions.

  Attributes:
    channels: of the output.
    axis: where the batch is split over devices.
  """

  channels: int
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], train: bool
  ) -> Float[Array, "b y x o"]:
    """Images of twice the sides."""
    y = ConvTranspose(self.channels, 3, name="transpose1")(x)
    y = nn.relu(blocks.BatchNorm(self.axis, name="bn1")(y, train))
    y = blocks.Conv(self.channels, 3, name="conv2")(y)
    y = blocks.BatchNorm(self.axis, name="bn2")(y, train)
    # Only every second row and column gets a value: the others are zero.
    x = ConvTranspose(self.channels, 1, name="transpose_shortcut")(x)
    x = blocks.BatchNorm(self.axis, name="bn_shortcut")(x, train)
    return nn.relu(x + y)


class ConvTranspose(nn.Module):
  """Transposed convolution of odd side, stride 2, no bias: doubles the sides.

  The kernel is (side, side, in, out) and is not flipped: input pixel (i, j)
  adds `x[i, j] @ kernel[a, b]` to output pixel (2i + a - p, 2j + b - p), p half
  the side rounded down. Initial values are PyTorch's: uniform in +-1/sqrt(n)
  with n = side * side * out.
  """

  features: int
  side: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of twice the sides."""
    shape = (self.side, self.side, x.shape[-1], self.features)
    init = blocks.uniform_fan_in(math.prod(shape) // x.shape[-1])
    kernel = self.param("kernel", init, shape)
    return ops.conv2d_transpose(
      x, kernel, stride=2, padding=self.side // 2, output_padding=1
    )
