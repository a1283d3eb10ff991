"""Encoder and decoder of reversed autoencoders (Bercea et al., MIDL 2023).

They are those of introspective variational autoencoders (Daniel and Tamar, CVPR
2021): residual blocks, mean pooling and nearest-neighbor upsampling. Images are
in [0, 1]. Slopes of leaky rectifiers are 0.2.
"""

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import losses, types
from medad_jax.nets import blocks, ops

_SLOPE = 0.2

# What the encoder makes of images: mean, log-variance and embeddings.
Code = tuple[Float[Array, "b z"], Float[Array, "b z"], list[Array]]


def sampled(code: Code, noise: Float[Array, "#b z"]) -> Float[Array, "b z"]:
  """Codes drawn by standard normal noise."""
  mean, log_var, _ = code
  return mean + jnp.exp(log_var / 2) * noise


def divergence(code: Code) -> Float[Array, "b"]:
  """KL divergence from a standard normal, in nats."""
  mean, log_var, _ = code
  # The loss is the mean over dimensions, and RA takes the sum.
  return mean.shape[-1] * losses.normal_divergence(mean, log_var)


class Encoder(nn.Module):
  """The distribution of an image's code, and embeddings on the way to it.

  Attributes:
    widths: channels of the levels; each halves the sides.
    latent: length of the code.
    projected: whether a block between levels of equal width has a projection,
      too; within a level none has.
    axis: where the batch is split over devices.
  """

  widths: tuple[int, ...] = (64, 128, 256, 512, 512)
  latent: int = 128
  projected: bool = True
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> tuple[
    Float[Array, "b z"], Float[Array, "b z"], list[Float[Array, "b _ _ _"]]
  ]:
    """Mean and log-variance of the code, and the output of each level.

    Raises:
      UserError: levels do not halve the sides evenly.
    """
    check_sides(image.shape[1:3], self.widths)
    x = Conv5x5(self.widths[0], use_bias=False)(image)
    x = _activated(blocks.BatchNorm(self.axis)(x, train))
    embeddings = [_halved(x)]
    for channels in self.widths[1:]:
      x = Residual(channels, self.projected, self.axis)(embeddings[-1], train)
      embeddings.append(_halved(x))
    x = Residual(self.widths[-1], False, self.axis)(embeddings[-1], train)
    # Channels first, as PyTorch flattens.
    x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
    x = blocks.Dense(2 * self.latent)(x)
    mean, log_var = jnp.split(x, 2, -1)
    return mean, log_var, embeddings


class Decoder(nn.Module):
  """The image of a code.

  Attributes:
    sides: height and width of the image.
    channels: of the image.
    widths: channels of the levels, those of the encoder; each doubles the
      sides, from the last to the first.
    projected: as in `Encoder`.
    axis: where the batch is split over devices.
  """

  sides: tuple[int, int]
  channels: int = 1
  widths: tuple[int, ...] = (64, 128, 256, 512, 512)
  projected: bool = True
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, code: Float[Array, "b z"], train: bool
  ) -> Float[Array, "b h w c"]:
    """Images in [0, 1].

    Raises:
      UserError: levels do not halve the sides evenly.
    """
    check_sides(self.sides, self.widths)
    h, w = (side >> len(self.widths) for side in self.sides)
    last = self.widths[-1]
    x = nn.relu(blocks.Dense(last * h * w)(code))
    # Channels first, as PyTorch flattens.
    x = x.reshape(-1, last, h, w).transpose(0, 2, 3, 1)
    x = _doubled(Residual(last, False, self.axis)(x, train))
    for channels in self.widths[-2::-1]:
      x = _doubled(Residual(channels, self.projected, self.axis)(x, train))
    x = Residual(self.widths[0], False, self.axis)(x, train)
    return nn.sigmoid(Conv5x5(self.channels)(x))


class Residual(nn.Module):
  """Two convolutions beside a shortcut.

  Attributes:
    channels: of the output.
    projected: whether the shortcut is a projection where the channels stay,
      too.
    axis: where the batch is split over devices.
  """

  channels: int
  projected: bool
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], train: bool
  ) -> Float[Array, "b h w o"]:
    """Images of the same sides."""

    def convolved(x):
      x = blocks.Conv3x3(self.channels, use_bias=False)(x)
      return blocks.BatchNorm(self.axis)(x, train)

    y = convolved(_activated(convolved(x)))
    if self.projected or x.shape[-1] != self.channels:
      # A 1x1 convolution, which is not normalized.
      x = blocks.Dense(self.channels, use_bias=False)(x)
    return _activated(x + y)


class Conv5x5(nn.Module):
  """Convolution 5x5, stride 1, zero padding 2: keeps the sides."""

  features: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    """Images of the same sides."""
    init = blocks.uniform_fan_in(25 * x.shape[-1])
    shape = (5, 5, x.shape[-1], self.features)
    y = ops.conv2d(x, self.param("kernel", init, shape), padding=2)
    if not self.use_bias:
      return y
    return blocks.shifted(y, self.param("bias", init, y.shape[-1:]))


def check_sides(sides: tuple[int, int], widths: tuple[int, ...]) -> None:
  """Raises UserError unless the levels halve the sides evenly."""
  factor = 2 ** len(widths)
  if any(side % factor for side in sides):
    raise types.UserError(
      f"images of {sides[0]}x{sides[1]} were given, but each of the"
      f" {len(widths)} levels of model.widths halves them: set data.image_size"
      f" to a multiple of {factor}, or fewer widths"
    )


def _activated(x):
  return nn.leaky_relu(x, _SLOPE)


def _halved(x):
  return nn.avg_pool(x, (2, 2), (2, 2))


def _doubled(x):
  return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
