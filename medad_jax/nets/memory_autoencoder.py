"""MemAE's own net (Gong et al., ICCV 2019, arXiv 1904.02639), for images.

The released model is of videos; here its 3x3x3 convolutions are 3x3. Kernels
are normal with deviation 0.02, scales of normalizations with mean 1, biases as
PyTorch draws them by default.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops
from medad_jax.nets.autoencoder import Memory


class MemoryAutoencoder(nn.Module):
  """Convolutions around a memory of the features of single places.

  Attributes:
    channels: of the encoder's levels, each of half the sides.
    slots: items in memory.
    threshold: attention below which an item is not used.
    axis: where the batch is split over devices.
  """

  channels: tuple[int, ...] = (96, 128, 256, 256)
  slots: int = 2000
  threshold: float = 0.0025
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> dict[str, Array]:
    """Reconstructs images from items in memory.

    Args:
      image: values in [-1, 1].
      train: whether statistics are those of the batch.

    Returns:
      "x_hat" [b h w c], unbounded; "latent" [b m], the mean over places of the
      features before the memory; "attention" [b y x s] to the items.

    Raises:
      UserError: a side cannot be halved as often as there are levels.
    """
    self._check(image.shape[1:3])
    x = image
    for width in self.channels:
      x = self._after(Conv3x3(width)(x), train)
    features = x
    b, h, w, c = x.shape
    memory = Memory(self.slots, self.threshold, name="memory")
    x, attention = memory(x.reshape(-1, c))
    x = x.reshape(b, h, w, c)
    for width in self.channels[-2::-1]:
      x = self._after(Conv3x3(width, transposed=True)(x), train)
    return {
      "x_hat": Conv3x3(image.shape[-1], transposed=True)(x),
      "latent": features.mean((1, 2)),
      "attention": attention.reshape(b, h, w, -1),
    }

  def _after(self, x, train):
    norm = blocks.BatchNorm(self.axis, scale_init=blocks.around_one)
    return nn.leaky_relu(norm(x, train), 0.2)

  def _check(self, sides):
    if any(side % (1 << len(self.channels)) for side in sides):
      raise types.UserError(
        f"images of {sides[0]}x{sides[1]} were given, but the autoencoder"
        f" halves them {len(self.channels)} times: set data.image_size to a"
        f" multiple of {1 << len(self.channels)}"
      )


class Conv3x3(nn.Module):
  """A convolution 3x3 that halves the sides, or its transpose that doubles."""

  features: int
  transposed: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of half or twice the sides."""
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
    # PyTorch takes the second axis of its kernels for the inputs', which is
    # the outputs' of a transposed convolution.
    fan_in = 9 * (self.features if self.transposed else x.shape[-1])
    bias = self.param("bias", blocks.uniform_fan_in(fan_in), (self.features,))
    # As in `blocks.Conv`: layers this wide gain nothing from the CPU's forms.
    with ops.own_forms(False):
      if self.transposed:
        y = ops.conv2d_transpose(x, kernel, 2, 1, 1)
      else:
        y = ops.conv2d(x, kernel, 2, 1)
    return blocks.shifted(y, bias)
