"""The nets of GANomaly's own code (Akcay et al., ACCV 2018, arXiv 1805.06725).

Pyramids of 4x4 convolutions without biases, as in DCGAN (Radford et al., ICLR
2016), down to 4x4 pixels and from there to one number a channel. Kernels are
normal with deviation 0.02, scales of normalizations with mean 1.
"""

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops

_SMALLEST = 4  # pixels a side before the last convolution


class Generator(nn.Module):
  """Encodes, decodes and encodes again, with an encoder of its own.

  Attributes:
    width: channels of the largest resolution.
    latent: length of the code.
    axis: where the batch is split over devices.
  """

  width: int = 64
  latent: int = 100
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> dict[str, Array]:
    """ "x_hat" [b h w c] in (-1, 1), "latent" and "latent_hat" [b z]."""
    sizes = (self.width, self.latent, self.axis)
    code, _ = Encoder(*sizes, name="encoder")(image, train)
    _, side, _, channels = image.shape
    x_hat = Decoder(self.width, side, channels, self.axis, name="decoder")(
      code, train
    )
    again, _ = Encoder(*sizes, name="second_encoder")(x_hat, train)
    return {"x_hat": x_hat, "latent": code, "latent_hat": again}


class Encoder(nn.Module):
  """Image to code; with one number it is GANomaly's discriminator.

  Attributes:
    width: channels of the largest resolution.
    latent: length of the code.
    axis: where the batch is split over devices.
  """

  width: int = 64
  latent: int = 100
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> tuple[Float[Array, "b z"], Float[Array, "b y x m"]]:
    """The code, unbounded, and the features before it."""
    x = image
    for level, width in enumerate(widths_of(image.shape[1], self.width)):
      x = Conv4x4(width)(x)
      # The first level is not normalized.
      x = _norm(self.axis)(x, train) if level else x
      x = nn.leaky_relu(x, 0.2)
    return Conv4x4(self.latent, stride=1)(x)[:, 0, 0], x


class Decoder(nn.Module):
  """Code to image.

  Attributes:
    width: channels of the largest resolution.
    side: height and width of the images.
    channels: of the images.
    axis: where the batch is split over devices.
  """

  width: int
  side: int
  channels: int = 1
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, code: Float[Array, "b z"], train: bool
  ) -> Float[Array, "b h w c"]:
    """Images in (-1, 1)."""
    x = code[:, None, None]
    for level, width in enumerate(widths_of(self.side, self.width)[::-1]):
      x = Conv4x4(width, stride=2 if level else 1, transposed=True)(x)
      x = nn.relu(_norm(self.axis)(x, train))
    return jnp.tanh(Conv4x4(self.channels, transposed=True)(x))


class Conv4x4(nn.Module):
  """A convolution 4x4 without bias, or its transpose.

  With stride 2 it halves or doubles the sides, with stride 1 it goes between
  4x4 pixels and one.
  """

  features: int
  stride: int = 2
  transposed: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of the other sides."""
    shape = (4, 4, x.shape[-1], self.features)
    kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
    product = ops.conv2d_transpose if self.transposed else ops.conv2d
    return product(x, kernel, self.stride, self.stride - 1)


def widths_of(side: int, width: int) -> list[int]:
  """Channels of the resolutions from `side` / 2 to 4 pixels.

  Raises:
    UserError: the side is not 4 times a power of two.
  """
  levels = max(side // _SMALLEST, 1).bit_length() - 1
  if side != _SMALLEST << levels or levels < 1:
    raise types.UserError(
      f"images of {side} pixels a side were given, but GANomaly's nets halve"
      " them down to 4: set data.image_size to a power of two from 8 on"
    )
  return [width << level for level in range(levels)]


def _norm(axis):
  return blocks.BatchNorm(axis, scale_init=blocks.around_one)
