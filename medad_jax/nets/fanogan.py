"""The nets of f-AnoGAN (Schlegl et al., Medical Image Analysis 54 (2019)).

Residual nets of the improved WGAN (Gulrajani et al., NeurIPS 2017). Sides are
powers of two, from 4 on: at 64 pixels and width 64, the channels of the five
resolutions from 64x64 to 4x4 are 64, 128, 256, 512 and 512.

Kernels are uniform with variance 4 / (fan in + fan out), those of shortcuts,
of the first convolution and of dense layers with half of that; biases are 0.
"""

from typing import Literal

from flax import linen as nn
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops

_SMALLEST = 4  # pixels a side between the dense layers and the convolutions
_WIDEST = 8  # times the width

_GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
_TWICE = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")


class Generator(nn.Module):
  """Images from codes.

  Attributes:
    side: height and width of the images, 4 times a power of two.
    channels: of the images.
    width: channels of the largest resolution.
    axis: where the batch is split over devices.
  """

  side: int
  channels: int = 1
  width: int = 64
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, code: Float[Array, "b z"], train: bool
  ) -> Float[Array, "b h w c"]:
    """Images in (-1, 1)."""
    first, *widths = widths_of(self.side, self.width)[::-1]
    size = _SMALLEST
    x = Dense(first * size**2, name="input")(code)
    # The order of the original's axes, so that its weights keep their order.
    x = x.reshape(-1, first, size, size).transpose(0, 2, 3, 1)
    for place, width in enumerate(widths, 1):
      block = Block(width, "up", "batch", self.axis, name=f"res{place}")
      x = block(x, train)
    x = nn.relu(_batch_norm(self.axis, "output_norm")(x, train))
    x = blocks.Conv(
      self.channels, 3, use_bias=True, kernel_init=_TWICE, name="output"
    )(x)
    return jnp.tanh(x)


class Critic(nn.Module):
  """Values of images, in a game against the generator.

  Attributes:
    width: channels of the largest resolution.
  """

  width: int = 64

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"]
  ) -> tuple[Float[Array, "b"], Float[Array, "b m"]]:
    """The value, and the features from which it is computed linearly."""
    features = _features(image, self.width, "layer", types.Axis(), False)
    return Dense(1, name="output")(features)[:, 0], features


class Encoder(nn.Module):
  """Codes of images.

  Attributes:
    latent: length of the code.
    width: channels of the largest resolution.
    axis: where the batch is split over devices.
  """

  latent: int = 128
  width: int = 64
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b z"]:
    """Codes in (-1, 1)."""
    features = _features(image, self.width, "batch", self.axis, train)
    return jnp.tanh(Dense(self.latent, name="output")(features))


class Block(nn.Module):
  """A residual block that doubles or halves the sides.

  Attributes:
    features: channels of the output.
    direction: "up" doubles by repeating pixels, "down" halves by means.
    norm: over the batch, or over each image ("layer").
    axis: where the batch is split over devices.
  """

  features: int
  direction: Literal["up", "down"]
  norm: Literal["batch", "layer"]
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], train: bool
  ) -> Float[Array, "b y x o"]:
    """Images of twice or half the sides."""
    up = self.direction == "up"
    # The sides change before the first convolution or after the second one,
    # and the channels at the smaller resolution.
    y = self._active(x, "norm1", train)
    middle = self.features if up else x.shape[-1]
    y = _doubled(y) if up else y
    y = blocks.Conv(middle, 3, kernel_init=_TWICE, name="conv1")(y)
    y = self._active(y, "norm2", train)
    y = blocks.Conv(
      self.features, 3, use_bias=True, kernel_init=_TWICE, name="conv2"
    )(y)
    shortcut = blocks.Conv(
      self.features, 1, use_bias=True, kernel_init=_GLOROT, name="shortcut"
    )
    # A 1x1 convolution commutes with the repetition of pixels.
    return y + _doubled(shortcut(x)) if up else _mean(y) + shortcut(_mean(x))

  def _active(self, x, name, train):
    if self.norm == "layer":
      return nn.relu(LayerNorm(name=name)(x))
    return nn.relu(_batch_norm(self.axis, name)(x, train))


class LayerNorm(nn.Module):
  """Normalization of each image over pixels and channels.

  Scale and bias are one a channel.
  """

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """x with mean 0 and variance 1 before scale and bias."""
    kind, x = x.dtype, blocks.widened(x)
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
    # Two passes, as in `blocks.BatchNorm`.
    centered = x - jnp.mean(x, (1, 2, 3), keepdims=True)
    variance = jnp.mean(centered**2, (1, 2, 3), keepdims=True)
    x = centered * lax.rsqrt(variance + 1e-5)
    return (x * scale + bias).astype(kind)


class Dense(nn.Module):
  """A linear layer with the initial values of these nets."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b o"]:
    """x @ kernel + bias."""
    kernel = self.param("kernel", _GLOROT, (x.shape[-1], self.features))
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    # The gradient penalty differentiates twice, which XLA's own product can.
    with ops.own_forms(False):
      y = ops.matmul(x, kernel)
    return blocks.shifted(y, bias)


def widths_of(side: int, width: int) -> list[int]:
  """Channels of the resolutions, from `side` to 4 pixels.

  Raises:
    UserError: the side is not 4 times a power of two.
  """
  levels = max(side // _SMALLEST, 1).bit_length() - 1
  if side != _SMALLEST << levels or levels < 1:
    raise types.UserError(
      f"images of {side} pixels a side were given, but f-AnoGAN's nets halve"
      " them down to 4: set data.image_size to a power of two from 8 on"
    )
  return [width * min(2**level, _WIDEST) for level in range(levels + 1)]


def _features(image, width, norm, axis, train) -> Float[Array, "b m"]:
  """Critic and encoder up to 4x4 pixels; layers belong to the caller."""
  first, *widths = widths_of(image.shape[1], width)
  x = blocks.Conv(first, 3, use_bias=True, kernel_init=_GLOROT, name="input")(
    image
  )
  for place, features in enumerate(widths, 1):
    x = Block(features, "down", norm, axis, name=f"res{place}")(x, train)
  # The order of the original's axes, as in the generator.
  return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def _batch_norm(axis, name):
  # TensorFlow 1's defaults.
  return blocks.BatchNorm(axis, 0.01, 1e-3, unbiased=False, name=name)


def _doubled(x):
  return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def _mean(x):
  b, h, w, c = x.shape
  return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))
