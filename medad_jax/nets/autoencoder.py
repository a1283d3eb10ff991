"""The convolutional autoencoder that most reconstruction methods share.

DDAD-ASR (Cai et al., Medical Image Analysis 2023, arXiv 2210.04227) and
MedIAnomaly (Cai et al., Medical Image Analysis 2025, arXiv 2404.04518) build on
it, plain, with a memory (MemAE, Gong et al., ICCV 2019), with a predicted
variance (AE-U, Mao et al., MICCAI 2020) or with a random code (VAE).
"""

from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops

_DOWN = 16  # four layers of stride 2

# Between feature map and code, on each side: a hidden dense layer with batch
# normalization, or without; one at every place of the map, for a code of
# [h/16 w/16 z]; or no hidden layer.
Bottleneck = Literal["dense", "plain", "spatial", "none"]


class Autoencoder(nn.Module):
  """Encoder, optional memory, decoder; the output is linear.

  Attributes:
    width: channels of the first layer; the others have 2, 4 and 4 times more.
    latent: length of the code.
    hidden: width of the dense layers around the code.
    down_depth: convolutions a level of the encoder.
    up_depth: convolutions a level of the decoder.
    bottleneck: the layers around the code.
    slots: number of memory items, None for no memory.
    threshold: attention below which a memory item is not used.
    variance: True for a second output, the log-variance of each pixel.
    axis: where the batch is split over devices.
  """

  width: int = 16
  latent: int = 16
  hidden: int = 2048
  down_depth: int = 1
  up_depth: int = 1
  bottleneck: Bottleneck = "dense"
  slots: int | None = None
  threshold: float = 0.0
  variance: bool = False
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool, twice: bool = False
  ) -> dict[str, Array]:
    """Reconstructs images.

    Args:
      image: values in [-1, 1]; sides are multiples of 16.
      train: whether statistics are those of the batch.
      twice: whether the reconstruction is encoded again.

    Returns:
      "x_hat" [b h w c], "latent" [b z], with memory "attention" [b slots], with
      variance "log_var" [b h w c], unbounded, and `twice` "latent_hat" [b z].

    Raises:
      UserError: a side is not a multiple of 16.
    """
    channels = image.shape[-1]
    encoder = Encoder(
      self.width,
      self.latent,
      self.hidden,
      self.down_depth,
      self.bottleneck,
      self.axis,
      name="encoder",
    )
    decoder = Decoder(
      self.width,
      self.hidden,
      image.shape[1:3],
      channels * (2 if self.variance else 1),
      self.up_depth,
      self.bottleneck,
      self.axis,
      name="decoder",
    )
    code = encoder(image, train)
    out = {"latent": code}
    if self.slots is not None:
      memory = Memory(self.slots, self.threshold, name="memory")
      code, out["attention"] = memory(code)
    y = decoder(code, train)
    out["x_hat"] = y[..., :channels]
    if self.variance:
      out["log_var"] = y[..., channels:]
    if twice:
      out["latent_hat"] = encoder(out["x_hat"], train)
      decoder(out["latent_hat"], train, to_hidden=True)
    return out


class VariationalAutoencoder(nn.Module):
  """The autoencoder whose code is drawn from a normal distribution.

  Attributes:
    width: channels of the first layer.
    latent: length of the code.
    hidden: width of the dense layers around the code.
    down_depth: convolutions a level of the encoder.
    up_depth: convolutions a level of the decoder.
    axis: where the batch is split over devices.
  """

  width: int = 16
  latent: int = 16
  hidden: int = 1024
  down_depth: int = 1
  up_depth: int = 1
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self,
    image: Float[Array, "b h w c"],
    noise: Float[Array, "b z"],
    train: bool,
  ) -> dict[str, Array]:
    """Reconstructs images from mean + noise * deviation.

    Args:
      image: values in [-1, 1]; sides are multiples of 16.
      noise: standard normal; zeros for the mean code.
      train: whether statistics are those of the batch.

    Returns:
      "x_hat" [b h w c], "mean" and "code_log_var" [b z] of the code's
      distribution, unbounded.

    Raises:
      UserError: a side is not a multiple of 16.
    """
    both = Encoder(
      self.width,
      2 * self.latent,
      self.hidden,
      self.down_depth,
      axis=self.axis,
      name="encoder",
    )(image, train)
    mean, log_var = jnp.split(both, 2, axis=-1)
    x_hat = Decoder(
      self.width,
      self.hidden,
      image.shape[1:3],
      image.shape[-1],
      self.up_depth,
      axis=self.axis,
      name="decoder",
    )(mean + noise * jnp.exp(log_var / 2), train)
    return {"x_hat": x_hat, "mean": mean, "code_log_var": log_var}


class Encoder(nn.Module):
  """Image to code."""

  width: int
  latent: int
  hidden: int = 0
  depth: int = 1
  bottleneck: Bottleneck = "dense"
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b *hw z"]:
    """The code of each image, unbounded."""
    check_sides(x.shape[1:3])
    for multiple in (1, 2, 4, 4):
      width = self.width * multiple
      x = blocks.Conv4x4s2(width)(x)
      x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
      for _ in range(self.depth - 1):
        x = blocks.Conv3x3(width, use_bias=False)(x)
        x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    if self.bottleneck != "spatial":
      # Channels first in the flat vector, so that published weights fit.
      x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
    x = _hidden(x, self.hidden, self.bottleneck, self.axis, train)
    return blocks.Dense(self.latent, use_bias=self.bottleneck != "spatial")(x)


class Decoder(nn.Module):
  """Code to image of the given sides and channels."""

  width: int
  hidden: int
  sides: tuple[int, int]
  channels: int
  depth: int = 1
  bottleneck: Bottleneck = "dense"
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, z: Float[Array, "b *hw z"], train: bool, to_hidden: bool = False
  ) -> Float[Array, "b ..."]:
    """The image of each code, unbounded; or the hidden layer [b *hw m]."""
    x = _hidden(z, self.hidden, self.bottleneck, self.axis, train)
    if to_hidden:
      return x
    h, w = self.sides[0] // _DOWN, self.sides[1] // _DOWN
    spatial = self.bottleneck == "spatial"
    features = 4 * self.width * (1 if spatial else h * w)
    x = blocks.Dense(features, use_bias=not spatial)(x)
    if not spatial:
      x = x.reshape(-1, 4 * self.width, h, w).transpose(0, 2, 3, 1)
    for multiple in (4, 2, 1):
      x = self._before(x, train)
      x = blocks.ConvTranspose4x4s2(self.width * multiple)(x)
      x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    return blocks.ConvTranspose4x4s2(self.channels)(self._before(x, train))

  def _before(self, x, train):
    """The deeper decoder's convolutions at the lower resolution."""
    for _ in range(self.depth - 1):
      x = blocks.Conv3x3(x.shape[-1], use_bias=False)(x)
      x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    return x


class Memory(nn.Module):
  """Replaces a code by a mixture of stored ones.

  Attention is the softmax of plain inner products. A positive threshold t
  turns a into relu(a - t) a / (|a - t| + 1e-12), rescaled to sum to one
  (Gong et al., equations 5 to 7); at t = 0 neither step runs.
  """

  slots: int
  threshold: float = 0.0

  @nn.compact
  def __call__(
    self, z: Float[Array, "b z"]
  ) -> tuple[Float[Array, "b z"], Float[Array, "b m"]]:
    """The mixture, and the attention to each item."""
    size = z.shape[-1]
    init = blocks.uniform_fan_in(size)
    items = self.param("items", init, (self.slots, size))
    attention = jax.nn.softmax(blocks.widened(ops.matmul(z, items.T)))
    if self.threshold > 0:
      attention = _shrink(attention, self.threshold)
    return ops.matmul(attention.astype(z.dtype), items), attention


def check_sides(sides: tuple[int, int]) -> None:
  """Raises UserError unless both sides are multiples of 16."""
  if any(side % _DOWN for side in sides):
    raise types.UserError(
      f"images of {sides[0]}x{sides[1]} were given, but the autoencoder"
      f" halves them four times: set the image size to a multiple of {_DOWN}"
    )


def _hidden(x, features, bottleneck: Bottleneck, axis, train):
  """The hidden layer on one side of the code; in a compact method only."""
  if bottleneck == "none":
    return x
  x = blocks.Dense(features, use_bias=bottleneck != "spatial")(x)
  if bottleneck != "plain":
    x = blocks.BatchNorm(axis)(x, train)
  return nn.relu(x)


def _shrink(attention, threshold):
  excess = attention - threshold
  kept = nn.relu(excess) * attention / (jnp.abs(excess) + 1e-12)
  return kept / jnp.maximum(jnp.sum(kept, -1, keepdims=True), 1e-12)
