"""Residual encoders and decoders that may grow by one resolution at a time.

Shvetsova et al., "Anomaly Detection in Medical Imaging with Deep Perceptual
Autoencoders", IEEE Access 2021, and Tuluptceva et al., "Perceptual Image
Anomaly Detection", arXiv 1909.05904: DPA takes two blocks a resolution
("residual18"), PIAD one ("residual9"). No layer normalizes.

A module is named after the resolution that it works at (`preprocess_64`,
`down_64`), so nets of different sizes call the same weights by the same names.
"""

import math

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops

_SLOPE = 0.2
_CODE = 4  # side of the innermost image where the code has one pixel
# Kaiming's normal values for leaky ReLUs, by the fan out.
_KERNEL = nn.initializers.variance_scaling(
  2 / (1 + _SLOPE**2), "fan_out", "normal"
)


class Encoder(nn.Module):
  """Images to codes; with one code of one pixel it is a critic of images.

  Attributes:
    channels: of the images inside, read from the end: the last entry is that
      of the innermost resolution, and entries that are not needed come first.
    latent: channels of the code.
    latent_side: pixels a side of the code: 1, or 4 or more.
    depth: blocks a resolution, 2 in DPA and 1 in PIAD.
  """

  channels: tuple[int, ...]
  latent: int
  latent_side: int = 1
  depth: int = 2

  @nn.compact
  def __call__(
    self,
    image: Float[Array, "b h w c"],
    alpha: Float[Array, ""] | None = None,
  ) -> Float[Array, "b y y z"]:
    """Codes, unbounded.

    Args:
      image: of any resolution that the channels suffice for.
      alpha: weight in [0, 1] of the branch that sees this resolution, beside
        one that sees half of it; None for a net that has only the former.

    Raises:
      UserError: the image does not suit the channels.
    """
    side, inner = image.shape[1], _innermost(self.latent_side)
    check(image.shape[1:3], self.channels, self.latent_side, alpha is not None)
    x = self._preprocess(side, image)
    if alpha is not None:
      low = self._preprocess(side // 2, _halved(image))
      x = (1 - alpha) * low + alpha * self._down(side, x)
      side //= 2
    while side > inner:
      x = self._down(side, x)
      side //= 2
    if self.latent_side == 1:
      return _ToCode(self.latent, name=f"code_{side}")(_active(x))
    return Block(self.latent, name=f"code_{side}")(x)

  def _width(self, side):
    return self.channels[-1 - _level(side, self.latent_side)]

  def _preprocess(self, side, image):
    wide = self._width(side)
    x = _Conv(wide, name=f"preprocess_{side}")(image)
    for i in range(self.depth):
      x = Block(wide, name=f"preprocess_{side}_{i}")(x)
    return x

  def _down(self, side, x):
    wide = self._width(side // 2)
    x = Block(wide, _halved, name=f"down_{side}")(x)
    for i in range(self.depth - 1):
      x = Block(wide, name=f"down_{side}_{i}")(x)
    return x


class Decoder(nn.Module):
  """Codes to images.

  Attributes:
    channels: of the images inside, read from the start: the first entry is
      that of the innermost resolution, and entries that are not needed come
      last. With `latent_side` above 1 it is the code's channels as well.
    colors: channels of the image.
    side: of the image.
    latent_side: as in `Encoder`.
    depth: as in `Encoder`.
  """

  channels: tuple[int, ...]
  colors: int
  side: int
  latent_side: int = 1
  depth: int = 2

  @nn.compact
  def __call__(
    self,
    code: Float[Array, "b y y z"],
    alpha: Float[Array, ""] | None = None,
  ) -> Float[Array, "b h h c"]:
    """Images, unbounded: the last layer is linear.

    Args:
      code: of an image.
      alpha: as in `Encoder`.

    Raises:
      UserError: the image does not suit the channels.
    """
    side = _innermost(self.latent_side)
    sides = (self.side, self.side)
    check(sides, self.channels, self.latent_side, alpha is not None)
    if self.latent_side == 1:
      # The code itself is linear; its activation belongs to the decoder.
      x = _FromCode(self.channels[0], name=f"code_{side}")(_active(code))
    else:
      x = Block(self.channels[0], name=f"code_{side}")(code)
    last = self.side if alpha is None else self.side // 2
    while side < last:
      side *= 2
      x = self._up(side, x)
    if alpha is None:
      return self._postprocess(side, x)
    low = _doubled(self._postprocess(side, x))
    high = self._postprocess(self.side, self._up(self.side, x))
    return (1 - alpha) * low + alpha * high

  def _up(self, side, x):
    wide = self.channels[_level(side, self.latent_side)]
    x = Block(wide, _doubled, name=f"up_{side}")(x)
    for i in range(self.depth - 1):
      x = Block(wide, name=f"up_{side}_{i}")(x)
    return x

  def _postprocess(self, side, x):
    return _Conv(self.colors, name=f"postprocess_{side}")(_active(x))


class Autoencoder(nn.Module):
  """An encoder and its decoder.

  Attributes:
    channels: of the encoder.
    decoder_channels: of the decoder.
    latent: channels of the code.
    latent_side: pixels a side of the code.
    depth: blocks a resolution.
  """

  channels: tuple[int, ...]
  decoder_channels: tuple[int, ...]
  latent: int
  latent_side: int = 1
  depth: int = 2

  @nn.compact
  def __call__(
    self,
    image: Float[Array, "b h w c"],
    alpha: Float[Array, ""] | None = None,
  ) -> dict[str, Array]:
    """ "x_hat" [b h h c] and "latent" [b y y z].

    Raises:
      UserError: as `Encoder`, or the code does not suit the decoder.
    """
    if self.latent_side > 1 and self.latent != self.decoder_channels[0]:
      raise types.UserError(
        f"latent={self.latent} was given with a code of {self.latent_side}x"
        f"{self.latent_side} and a decoder that begins with"
        f" {self.decoder_channels[0]} channels; make both the same."
      )
    code = self.encoder(name="encoder")(image, alpha)
    x_hat = self.decoder(image.shape[1:], name="decoder")(code, alpha)
    return {"x_hat": x_hat, "latent": code}

  # Not wrapped, so that the parts can be asked without the whole as well.
  @nn.nowrap
  def encoder(self, **named: str) -> Encoder:
    """The encoder by itself."""
    return Encoder(
      self.channels, self.latent, self.latent_side, self.depth, **named
    )

  @nn.nowrap
  def decoder(self, shape: tuple[int, int, int], **named: str) -> Decoder:
    """The decoder by itself, for images of this shape."""
    return Decoder(
      self.decoder_channels,
      shape[-1],
      shape[0],
      self.latent_side,
      self.depth,
      **named,
    )


class LatentCritic(nn.Module):
  """Critic of codes: linear layers with leaky ReLUs between them.

  Attributes:
    channels: units of the hidden layers.
  """

  channels: tuple[int, ...]

  @nn.compact
  def __call__(self, code: Float[Array, "b *n"]) -> Float[Array, "b"]:
    """One number a code."""
    x = code.reshape(code.shape[0], -1)
    for i, wide in enumerate((*self.channels, 1)):
      last = i == len(self.channels)
      gain = 1.0 if last else 2 / (1 + _SLOPE**2)
      x = _Linear(wide, gain, name=f"dense_{i}")(x)
      x = x if last else _active(x)
    return x[:, 0]


class Block(nn.Module):
  """Residual block that activates before its two convolutions.

  Attributes:
    features: channels of the output.
    resize: what happens to the image on both branches, before convolutions.
  """

  features: int
  resize: object = None

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """The sum of both branches."""
    resize = self.resize or (lambda x: x)
    main = _Conv(self.features, name="conv_0")(resize(_active(x)))
    main = _Conv(self.features, name="conv_1")(_active(main))
    skip = resize(x)
    if x.shape[-1] != self.features:
      skip = _Conv(self.features, 1, name="skip")(skip)
    return skip + main


def check(
  sides: tuple[int, int],
  channels: tuple[int, ...],
  latent_side: int,
  growing: bool = False,
) -> None:
  """Checks that images suit a net.

  Args:
    sides: of the images.
    channels: of the encoder or decoder.
    latent_side: of the code.
    growing: whether half the side must suit it, too.

  Raises:
    UserError: they are not square, a side is no power-of-two multiple of the
      code's, or the channels do not suffice.
  """
  height, width = sides
  inner = _innermost(latent_side)
  level = math.log2(height / inner)
  if height != width or level != int(level) or level < growing:
    least = inner * (1 + growing)
    raise types.UserError(
      f"images of {height}x{width} were given for a code of {latent_side}x"
      f"{latent_side}; their sides must be equal, and {least} or that times a"
      " power of two (data.image_size, model.latent_side)."
    )
  if level >= len(channels):
    raise types.UserError(
      f"{len(channels)} channels were given for images of {height}x{width},"
      f" which take {int(level) + 1}; name as many or more."
    )


class _Conv(nn.Module):
  """Convolution that keeps the sides."""

  features: int
  side: int = 3

  @nn.compact
  def __call__(self, x):
    kernel, bias = _parameters(self, self.side, x.shape[-1], self.features)
    if self.side == 1:
      return blocks.shifted(ops.matmul(x, kernel[0, 0]), bias)
    y = ops.conv2d(x, kernel, padding=self.side // 2)
    return blocks.shifted(y, bias)


class _ToCode(nn.Module):
  """Convolution of a 4x4 image with a 4x4 kernel and no padding: one pixel."""

  features: int

  @nn.compact
  def __call__(self, x):
    kernel, bias = _parameters(self, _CODE, x.shape[-1], self.features)
    flat = x.reshape(len(x), 1, 1, -1)
    y = ops.matmul(flat, kernel.reshape(-1, self.features))
    return blocks.shifted(y, bias)


class _FromCode(nn.Module):
  """Convolution of one pixel with a 4x4 kernel and padding 3: a 4x4 image."""

  features: int

  @nn.compact
  def __call__(self, x):
    kernel, bias = _parameters(self, _CODE, x.shape[-1], self.features)
    # A convolution is a cross-correlation here, so that the pixel meets the
    # kernel from its far end: output (i, j) is x @ kernel[3 - i, 3 - j].
    rows = kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(x.shape[-1], -1)
    y = ops.matmul(x, rows).reshape(len(x), _CODE, _CODE, self.features)
    return blocks.shifted(y, bias)


class _Linear(nn.Module):
  """Linear layer whose kernel is uniform (Glorot and Bengio, AISTATS 2010).

  `gain` is the variance over Glorot's.
  """

  features: int
  gain: float

  @nn.compact
  def __call__(self, x):
    init = nn.initializers.variance_scaling(self.gain, "fan_avg", "uniform")
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", init, shape)
    bias = self.param(
      "bias", blocks.uniform_fan_in(x.shape[-1]), (self.features,)
    )
    return blocks.shifted(ops.matmul(x, kernel), bias)


def _parameters(module, side, inputs, outputs):
  """A convolution's kernel and its bias, uniform as PyTorch draws it."""
  kernel = module.param("kernel", _KERNEL, (side, side, inputs, outputs))
  init = blocks.uniform_fan_in(side * side * inputs)
  return kernel, module.param("bias", init, (outputs,))


def _active(x):
  return jax.nn.leaky_relu(x, _SLOPE)


def _halved(x):
  b, h, w, c = x.shape
  return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def _doubled(x):
  return x.repeat(2, axis=1).repeat(2, axis=2)


def _innermost(latent_side):
  """Side of the innermost image."""
  return _CODE if latent_side == 1 else latent_side


def _level(side, latent_side):
  """Doublings from the innermost image."""
  return int(math.log2(side // _innermost(latent_side)))
