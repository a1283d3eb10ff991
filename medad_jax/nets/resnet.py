"""ResNet18 (He et al., CVPR 2016), as torchvision builds it.

Modules carry torchvision's names with "_" for "." inside a level:
`layer2_0/downsample_0` is its layer2.0.downsample.0.
"""

from collections.abc import Iterator

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks

LAYERS = ("layer1", "layer2", "layer3", "layer4")


class ResNet18(nn.Module):
  """512 features an image, or the logits of a linear layer on them.

  Initial values are those of torchvision: kernels normal with variance
  2 / (height * width * out).

  Attributes:
    axis: where the batch is split over devices.
    classes: length of the logits; None for the features themselves.
    width: channels of the first stage; the features are 8 times as many.
  """

  axis: types.Axis = types.Axis()
  classes: int | None = None
  width: int = 64

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b f"]:
    """Features (their mean over the last layer's pixels) or logits."""
    x = jnp.mean(stages(image, train, self.axis, self.width), (1, 2))
    if self.classes is None:
      return x
    return blocks.Dense(self.classes, name="fc")(x)


class ResNet18Layers(nn.Module):
  """The outputs of some layers of a trained net.

  Attributes:
    layers: whose outputs to return, names of `LAYERS`.
  """

  layers: tuple[str, ...] = LAYERS[-1:]

  @nn.compact
  def __call__(self, image: Float[Array, "b h w c"]) -> dict[str, Array]:
    """The outputs by name, of layer k [b, h / 2^(k + 1), w / 2^(k + 1), c]."""
    found: dict[str, Array] = {}
    for name, x in _levels(image, False, types.Axis(), 64):
      found[name] = x
      if found.keys() >= set(self.layers):  # later layers are not made
        break
    return {name: found[name] for name in self.layers}


def stages(
  image: Float[Array, "b h w c"],
  train: bool,
  axis: types.Axis,
  width: int = 64,
) -> Float[Array, "b y x f"]:
  """All layers before the mean: 8 * width channels, 1/32 of the sides.

  For a module's `__call__`: the layers are that module's own.

  Args:
    image: whatever its channels.
    train: whether batch normalization sees a training batch.
    axis: where the batch is split over devices.
    width: channels of the first stage; each further one has twice as many.
  """
  return dict(_levels(image, train, axis, width))[LAYERS[-1]]


def _levels(image, train, axis, width) -> Iterator[tuple[str, Array]]:
  """The four levels' outputs by name, in order."""
  x = blocks.Conv(width, 7, 2, name="conv1")(image)
  x = nn.relu(blocks.BatchNorm(axis, name="bn1")(x, train))
  x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
  for level, name in enumerate(LAYERS):
    for place in (0, 1):
      stride = 2 if level > 0 and place == 0 else 1
      block = BasicBlock(width << level, stride, axis, name=f"{name}_{place}")
      x = block(x, train)
    yield name, x


class BasicBlock(nn.Module):
  """Two 3x3 convolutions beside a shortcut.

  Attributes:
    channels: of the output.
    stride: of the first convolution and of the shortcut.
    axis: where the batch is split over devices.
  """

  channels: int
  stride: int = 1
  axis: types.Axis = types.Axis()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], train: bool
  ) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides."""
    y = blocks.Conv(self.channels, 3, self.stride, name="conv1")(x)
    y = nn.relu(blocks.BatchNorm(self.axis, name="bn1")(y, train))
    y = blocks.Conv(self.channels, 3, 1, name="conv2")(y)
    y = blocks.BatchNorm(self.axis, name="bn2")(y, train)
    if self.stride > 1 or x.shape[-1] != self.channels:
      x = blocks.Conv(self.channels, 1, self.stride, name="downsample_0")(x)
      x = blocks.BatchNorm(self.axis, name="downsample_1")(x, train)
    return nn.relu(x + y)
