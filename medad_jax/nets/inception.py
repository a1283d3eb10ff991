"""Inception-ResNet-v2 (Szegedy et al., AAAI 2017), as pretrainedmodels has it.

Running statistics normalize, as the net is not trained here. Modules carry
pretrainedmodels' names with "_" for ".", but its `repeat`, `repeat_1` and
`repeat_2` are `block35`, `block17` and `block8`.
"""

from typing import Literal, NamedTuple

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops


class Unit(NamedTuple):
  """A convolution, and what the layers of a `ConvUnit` need to know of it.

  Attributes:
    channels: of the output.
    height: of the kernel.
    width: of the kernel.
    stride: in both directions.
    padded: whether zeros keep the sides.
  """

  channels: int
  height: int = 1
  width: int = 1
  stride: int = 1
  padded: bool = True


def _halving(channels: int) -> Unit:
  return Unit(channels, 3, 3, 2, padded=False)


Branches = tuple[tuple[Unit, ...], ...]
_35: Branches = (
  (Unit(32),),
  (Unit(32), Unit(32, 3, 3)),
  (Unit(32), Unit(48, 3, 3), Unit(64, 3, 3)),
)
_17: Branches = (
  (Unit(192),),
  (Unit(128), Unit(160, 1, 7), Unit(192, 7, 1)),
)
_8: Branches = (
  (Unit(192),),
  (Unit(192), Unit(224, 1, 3), Unit(256, 3, 1)),
)
_MIXED: dict[str, Branches] = {
  "mixed_5b": (
    (Unit(96),),
    (Unit(48), Unit(64, 5, 5)),
    (Unit(64), Unit(96, 3, 3), Unit(96, 3, 3)),
  ),
  "mixed_6a": (
    (_halving(384),),
    (Unit(256), Unit(256, 3, 3), _halving(384)),
  ),
  "mixed_7a": (
    (Unit(256), _halving(384)),
    (Unit(256), _halving(288)),
    (Unit(256), Unit(288, 3, 3), _halving(320)),
  ),
}
_UNITS = {
  "conv2d_1a": _halving(32),
  "conv2d_2a": Unit(32, 3, 3, padded=False),
  "conv2d_2b": Unit(64, 3, 3),
  "conv2d_3b": Unit(80),
  "conv2d_4a": Unit(192, 3, 3, padded=False),
  "conv2d_7b": Unit(1536),
}
# Residual blocks behind a layer: name, number, branches and scale.
_BLOCKS = {
  "mixed_5b": ("block35", 10, _35, 0.17),
  "mixed_6a": ("block17", 20, _17, 0.10),
  "mixed_7a": ("block8", 9, _8, 0.20),
}

# The layers that have features, in order, and their channels.
CHANNELS = {
  "conv2d_1a": 32,
  "conv2d_2a": 32,
  "conv2d_2b": 64,
  "maxpool_3a": 64,
  "conv2d_3b": 80,
  "conv2d_4a": 192,
  "maxpool_5a": 192,
  "mixed_5b": 320,
  "mixed_6a": 1088,
  "mixed_7a": 2080,
  "conv2d_7b": 1536,
}
LAYERS = tuple(CHANNELS)
_LEAST = 75  # pixels a side: 1x1 is left of them


class InceptionResNetV2(nn.Module):
  """The mean over all pixels of some layers; later ones are not computed.

  The three `mixed` layers are taken before the residual blocks that follow
  them. At first kernels are normal with variance 2 / (height * width * out).

  Attributes:
    layers: whose means to return, names of `LAYERS`.
  """

  layers: tuple[str, ...] = LAYERS

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w 3"]
  ) -> dict[str, Float[Array, "b _"]]:
    """The means by layer.

    Args:
      image: in [-1, 1].

    Raises:
      UserError: nothing would be left of the image.
    """
    used = LAYERS[: 1 + max(LAYERS.index(name) for name in self.layers)]
    if "mixed_7a" in used and min(image.shape[1:3]) < _LEAST:
      raise types.UserError(
        f"images of {image.shape[1]}x{image.shape[2]} are too small for"
        f" Inception-ResNet-v2; use sides of {_LEAST} or more (model.side)."
      )
    x, out = image, {}
    for name in used:
      x = self._layer(name, x)
      if name in self.layers:
        out[name] = jnp.mean(x, (1, 2))
      if name in _BLOCKS and name != used[-1]:
        x = self._residuals(name, x)
    return out

  def _layer(self, name, x):
    if name in _UNITS:
      return ConvUnit(_UNITS[name], name=name)(x)
    if name in _MIXED:
      last: Literal["average", "max"] = (
        "average" if name == "mixed_5b" else "max"
      )
      return Mixed(_MIXED[name], last, name=name)(x)
    return nn.max_pool(x, (3, 3), (2, 2))

  def _residuals(self, name, x):
    block, count, branches, scale = _BLOCKS[name]
    for number in range(count):
      x = Residual(branches, scale, name=f"{block}_{number}")(x)
    if block != "block8":
      return x
    return Residual(branches, 1.0, relu=False, name="block8")(x)


class ConvUnit(nn.Module):
  """A convolution without bias, batch normalization and ReLU.

  Attributes:
    unit: sizes of the convolution.
  """

  unit: Unit

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides."""
    y = Conv(self.unit, name="conv")(x)
    return nn.relu(blocks.BatchNorm(epsilon=1e-3, name="bn")(y, train=False))


class Conv(nn.Module):
  """A convolution whose kernel need not be square.

  Attributes:
    unit: its sizes.
    use_bias: whether a bias is added.
  """

  unit: Unit
  use_bias: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides."""
    channels, height, width, stride, padded = self.unit
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    kernel = self.param("kernel", init, (height, width, x.shape[-1], channels))
    if padded:
      rows, columns = height // 2, width // 2
      x = jnp.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    # As `blocks.Conv`: layers this wide run no faster by the CPU's forms.
    with ops.own_forms(False):
      y = ops.conv2d(x, kernel, stride)
    if not self.use_bias:
      return y
    zeros = nn.initializers.zeros
    return blocks.shifted(y, self.param("bias", zeros, y.shape[-1:]))


class Mixed(nn.Module):
  """Branches side by side, the last one of them pooling.

  Attributes:
    branches: of units one after another.
    last: what the last branch pools: an average that keeps the sides, before a
      1x1 convolution, or the greatest, which halves them.
  """

  branches: Branches
  last: Literal["average", "max"]

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """The branches' outputs, concatenated."""
    out = _branches(self.branches, x)
    if self.last == "max":
      return jnp.concatenate([*out, nn.max_pool(x, (3, 3), (2, 2))], -1)
    around = ((1, 1), (1, 1))
    # Zeros around the image do not count in the average.
    mean = nn.avg_pool(x, (3, 3), (1, 1), around, count_include_pad=False)
    out.append(ConvUnit(Unit(64), name="branch3_1")(mean))
    return jnp.concatenate(out, -1)


class Residual(nn.Module):
  """A residual block: the sum of x and a part of a convolution of branches.

  Attributes:
    branches: of units one after another.
    scale: the part.
    relu: whether a ReLU follows the sum.
  """

  branches: Branches
  scale: float
  relu: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Images of the same shape."""
    y = jnp.concatenate(_branches(self.branches, x), -1)
    y = Conv(Unit(x.shape[-1]), use_bias=True, name="conv2d")(y)
    y = x + self.scale * y
    return nn.relu(y) if self.relu else y


def _branches(branches: Branches, x: Array) -> list[Array]:
  """Each branch's output; the layers are those of the calling module."""
  out = []
  for i, units in enumerate(branches):
    y = x
    for j, unit in enumerate(units):
      name = f"branch{i}_{j}" if len(units) > 1 else f"branch{i}"
      y = ConvUnit(unit, name=name)(y)
    out.append(y)
  return out


def residual_blocks() -> dict[str, int]:
  """The number of blocks of each kind that are repeated."""
  return {block: count for block, count, *_ in _BLOCKS.values()}
