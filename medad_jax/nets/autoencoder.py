"""The convolutional autoencoder with a dense bottleneck.

DDAD-ASR (Cai et al., Medical Image Analysis 2023, arXiv 2210.04227) builds its
ensembles from it, plain, with a memory (MemAE, Gong et al., ICCV 2019) or with
a predicted variance (AE-U, Mao et al., MICCAI 2020).
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks

_DOWN = 16  # four layers of stride 2


class Autoencoder(nn.Module):
  """Encoder, optional memory, decoder; the output is linear.

  Attributes:
    width: channels of the first layer; the others have 2, 4 and 4 times more.
    latent: length of the code.
    hidden: width of the dense layers around the code.
    slots: number of memory items, None for no memory.
    threshold: attention below which a memory item is not used.
    variance: True for a second output, the log-variance of each pixel.
    axis: where the batch is split over devices.
  """

  width: int = 16
  latent: int = 16
  hidden: int = 2048
  slots: int | None = None
  threshold: float = 0.0
  variance: bool = False
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> dict[str, Array]:
    """Reconstructs images.

    Args:
      image: values in [-1, 1]; sides are multiples of 16.
      train: whether statistics are those of the batch.

    Returns:
      "x_hat" [b h w c], "latent" [b z], with memory "attention" [b slots], with
      variance "log_var" [b h w c], unbounded.

    Raises:
      UserError: a side is not a multiple of 16.
    """
    channels = image.shape[-1]
    code = Encoder(
      self.width, self.latent, self.hidden, self.axis, name="encoder"
    )(image, train)
    out = {"latent": code}
    if self.slots is not None:
      memory = Memory(self.slots, self.threshold, name="memory")
      code, out["attention"] = memory(code)
    image = Decoder(
      self.width,
      self.hidden,
      image.shape[1:3],
      channels * (2 if self.variance else 1),
      self.axis,
      name="decoder",
    )(code, train)
    out["x_hat"] = image[..., :channels]
    if self.variance:
      out["log_var"] = image[..., channels:]
    return out


class Encoder(nn.Module):
  """Image to code."""

  width: int
  latent: int
  hidden: int
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b z"]:
    """The code of each image, unbounded."""
    check_sides(x.shape[1:3])
    for multiple in (1, 2, 4, 4):
      x = blocks.Conv4x4s2(self.width * multiple)(x)
      x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    # Channels first in the flat vector, so that published weights fit.
    x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
    x = blocks.Dense(self.hidden)(x)
    x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    return blocks.Dense(self.latent)(x)


class Decoder(nn.Module):
  """Code to image of the given sides and channels."""

  width: int
  hidden: int
  sides: tuple[int, int]
  channels: int
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, z: Float[Array, "b z"], train: bool
  ) -> Float[Array, "b h w c"]:
    """The image of each code, unbounded."""
    h, w = self.sides[0] // _DOWN, self.sides[1] // _DOWN
    x = blocks.Dense(self.hidden)(z)
    x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    x = blocks.Dense(4 * self.width * h * w)(x)
    x = x.reshape(-1, 4 * self.width, h, w).transpose(0, 2, 3, 1)
    for multiple in (4, 2, 1):
      x = blocks.ConvTranspose4x4s2(self.width * multiple)(x)
      x = nn.relu(blocks.BatchNorm(self.axis)(x, train))
    return blocks.ConvTranspose4x4s2(self.channels)(x)


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
    attention = jax.nn.softmax(z @ items.T)
    if self.threshold > 0:
      attention = _shrink(attention, self.threshold)
    return attention @ items, attention


def check_sides(sides: tuple[int, int]) -> None:
  """Raises UserError unless both sides are multiples of 16."""
  if any(side % _DOWN for side in sides):
    raise types.UserError(
      f"images of {sides[0]}x{sides[1]} were given, but the autoencoder"
      f" halves them four times: set the image size to a multiple of {_DOWN}"
    )


def _shrink(attention, threshold):
  excess = attention - threshold
  kept = nn.relu(excess) * attention / (jnp.abs(excess) + 1e-12)
  return kept / jnp.maximum(jnp.sum(kept, -1, keepdims=True), 1e-12)
