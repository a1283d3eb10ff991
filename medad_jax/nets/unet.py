"""The U-Net of the denoising autoencoder (Kascenas et al., MIDL 2022).

Convolutions have standardized weights (Qiao et al., arXiv 1903.10520), borders
are reflected, and each convolution is followed by Swish and then by group
normalization.
"""

import math

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops

_TINY = 1e-5


class UNet(nn.Module):
  """Down by average pooling, up by transposed convolutions, linear output.

  Attributes:
    width: channels of the first level; each level below has twice as many.
    levels: resolutions, the first included.
  """

  width: int = 64
  levels: int = 5

  @nn.compact
  def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """An image of the same shape, unbounded.

    Raises:
      UserError: a side cannot be halved levels - 1 times, or not be reflected.
    """
    self._check_sides(image.shape[1:3])
    x, skips = image, []
    for level in range(self.levels):
      if level:
        skips.append(x)
        x = nn.avg_pool(x, (2, 2), (2, 2))
      x = ConvBlock(self.width << level)(x)
    for skip in reversed(skips):
      x = UpSample(skip.shape[-1])(x)
      x = ConvBlock(skip.shape[-1])(jnp.concatenate([x, skip], -1))
    return blocks.Dense(image.shape[-1])(x)

  def _check_sides(self, sides):
    least = 1 << (self.levels - 1)
    if any(side % least or side < 2 * least for side in sides):
      raise types.UserError(
        f"images of {sides[0]}x{sides[1]} were given, but the U-Net halves them"
        f" {self.levels - 1} times and reflects what is left: set the image"
        f" size to a multiple of {least} from {2 * least} on"
      )


class ConvBlock(nn.Module):
  """Twice: convolution, Swish, group normalization."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    """Images of the same sides."""
    for _ in range(2):
      x = nn.swish(StandardizedConv3x3(self.features)(x))
      groups = middle_divisor(self.features)
      x = nn.GroupNorm(groups, epsilon=1e-5, use_fast_variance=False)(x)
    return x


class StandardizedConv3x3(nn.Module):
  """Convolution 3x3 whose filters have mean 0 and deviation 1.

  The deviation has Bessel's correction, and 1e-5 is added to it (not under
  the root). Borders are reflected without repeating the last pixel.
  """

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    """Images of the same sides."""
    fan_in = 9 * x.shape[-1]
    init = blocks.uniform_fan_in(fan_in)
    kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
    kind, kernel = kernel.dtype, blocks.widened(kernel)
    centered = kernel - jnp.mean(kernel, (0, 1, 2))
    variance = jnp.sum(centered**2, (0, 1, 2)) / (fan_in - 1)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    standard = centered / (jnp.sqrt(variance) + _TINY)
    y = ops.conv2d(x, standard.astype(kind))
    return blocks.shifted(y, self.param("bias", init, (self.features,)))


class UpSample(nn.Module):
  """Transposed convolution 2x2, stride 2, with bias: doubles the sides.

  The kernel is (in, 2, 2, out): each pixel makes a square of four.
  """

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of twice the sides."""
    b, h, w, c = x.shape
    init = blocks.uniform_fan_in(4 * self.features)
    kernel = self.param("kernel", init, (c, 2, 2, self.features))
    y = ops.matmul(x, kernel.reshape(c, -1))
    y = y.reshape(b, h, w, 2, 2, self.features).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(b, 2 * h, 2 * w, self.features)
    return blocks.shifted(y, self.param("bias", init, (self.features,)))


def middle_divisor(number: int) -> int:
  """The divisor in the middle of all; of two the larger."""
  low = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
  return number // low[-1]
