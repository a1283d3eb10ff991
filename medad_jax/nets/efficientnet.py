"""EfficientNet-lite0, as the package `efficientnet-lite-pytorch` builds it.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019, in TensorFlow's lite variant: without squeeze and
excitation, with ReLU6. For inference only: the running statistics of batch
normalization are folded into the kernels.
"""

from collections.abc import Iterator

from flax import linen as nn
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax.nets import blocks, ops

_EPSILON = 1e-3  # of batch normalization
# Blocks of a level, the kernel's side, the first one's stride, the expansion
# of the channels inside, and the channels of the output.
_LEVELS = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)


def _blocks() -> Iterator[tuple[int, int, int, int]]:
  for count, side, stride, expansion, channels in _LEVELS:
    for place in range(count):
      yield side, stride if place == 0 else 1, expansion, channels


BLOCKS = tuple(_blocks())  # (side, stride, expansion, channels), in order
LAYERS = ("stem", *(f"block{k}" for k in range(len(BLOCKS))), "logits")


class EfficientNetLite0(nn.Module):
  """The outputs of some layers; later layers are neither made nor computed.

  Attributes:
    layers: whose outputs to return, names of `LAYERS`.
  """

  layers: tuple[str, ...] = ("block15",)

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"]) -> dict[str, Array]:
    """The outputs by name: [b y x c] of blocks, [b 1000] of "logits".

    Args:
      image: (v - 127) / 128 of gray levels v in 0 .. 255.
    """
    used = LAYERS[: 1 + max(LAYERS.index(name) for name in self.layers)]
    x, out = image, {}
    for name in used:
      x = self._layer(name, x)
      if name in self.layers:
        out[name] = x
    return out

  def _layer(self, name, x):
    if name == "stem":
      return _relu6(FoldedConv(32, 3, 2, name="stem")(x))
    if name == "logits":
      x = _relu6(FoldedConv(1280, name="head")(x))
      return blocks.Dense(1000, name="fc")(jnp.mean(x, (1, 2)))
    return Block(*BLOCKS[int(name.removeprefix("block"))], name=name)(x)


class Block(nn.Module):
  """An inverted residual: expansion, depthwise convolution, projection.

  Attributes:
    side: of the depthwise kernel.
    stride: of the depthwise convolution.
    expansion: of the channels; 1 for no expansion.
    channels: of the output.
  """

  side: int
  stride: int
  expansion: int
  channels: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides, without an activation at the end."""
    y, inputs = x, x.shape[-1]
    if self.expansion > 1:
      y = _relu6(FoldedConv(self.expansion * inputs, name="expand")(y))
    y = FoldedDepthwise(self.side, self.stride, name="depthwise")(y)
    y = FoldedConv(self.channels, name="project")(_relu6(y))
    return x + y if self.stride == 1 and inputs == self.channels else y


class FoldedConv(nn.Module):
  """A convolution and the batch normalization after it.

  Attributes:
    features: channels of the output.
    side: of the kernel.
    stride: in both directions.
  """

  features: int
  side: int = 1
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides."""
    channels = (x.shape[-1], self.features)
    side = (self.side, self.side) if self.side > 1 else ()
    init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    kernel = self.param("kernel", init, (*side, *channels))
    factor, bias = _folded(self, self.features)
    if not side:
      return ops.matmul(x, kernel * factor) + bias
    edges = _padding(self.side, self.stride)
    x = jnp.pad(x, ((0, 0), edges, edges, (0, 0)))
    # The image's three channels are too few for the CPU's forms.
    with ops.own_forms(False):
      return ops.conv2d(x, kernel * factor, self.stride) + bias


class FoldedDepthwise(nn.Module):
  """A depthwise convolution and the batch normalization after it.

  Attributes:
    side: of the kernel.
    stride: in both directions.
  """

  side: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x c"]:
    """Images of 1/stride of the sides."""
    channels = x.shape[-1]
    init = nn.initializers.normal((2 / self.side**2) ** 0.5)
    kernel = self.param("kernel", init, (self.side, self.side, 1, channels))
    factor, bias = _folded(self, channels)
    edges = _padding(self.side, self.stride)
    return ops.conv2d_depthwise(x, kernel * factor, self.stride, edges) + bias


def _folded(module, channels):
  """Factor and bias of a module's batch normalization."""
  scale = module.param("scale", nn.initializers.ones, (channels,))
  bias = module.param("bias", nn.initializers.zeros, (channels,))
  mean = module.variable("batch_stats", "mean", jnp.zeros, (channels,)).value
  var = module.variable("batch_stats", "var", jnp.ones, (channels,)).value
  factor = scale * lax.rsqrt(var + _EPSILON)
  return factor, bias - mean * factor


def _padding(side, stride):
  """TensorFlow's "same" for even sides: the odd pixel is at the end."""
  whole = side - stride
  return whole // 2, whole - whole // 2


def _relu6(x):
  return jnp.clip(x, 0, 6)
