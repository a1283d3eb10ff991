"""Wide ResNet (Zagoruyko and Komodakis, BMVC 2016), as Keras computes it.

The details are those of Golan and El-Yaniv's classifier (NeurIPS 2018) in Keras
2.3 on TensorFlow 1.13: "SAME" padding, the fused kernel's epsilon, a normal
distribution of variance 2 / fan in for kernels, and zero for the bias.
"""

import math

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, ops

_POOL = 8  # side of the last pooling, and its stride


class WideResNet(nn.Module):
  """The logits of images, from three groups of residual blocks.

  Attributes:
    axis: where the batch is split over devices.
    classes: length of the logits.
    blocks: of each group; the published depth is 6 * blocks + 4.
    width: factor of the channels 16, 32 and 64.
    corrections: see `BatchNorm`.
  """

  axis: types.Axis = types.Axis()
  classes: int = 72
  blocks: int = 1
  width: int = 4
  corrections: int = 1

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b classes"]:
    """Logits.

    Raises:
      UserError: less than 8x8 is left of the images.
    """
    x = Conv(16, 3, name="stem")(image)
    for group in (1, 2, 3):
      for place in range(self.blocks):
        stride = 2 if group > 1 and place == 0 else 1
        block = Block(
          (8 << group) * self.width,
          stride,
          self.axis,
          self.corrections,
          name=f"group{group}_block{place}",
        )
        x = block(x, train)
    norm = BatchNorm(self.axis, corrections=self.corrections, name="head_bn")
    x = nn.relu(norm(x, train))
    _check_size(image.shape[1], x.shape[1])
    x = nn.avg_pool(x, (_POOL, _POOL), (_POOL, _POOL))
    x = x.reshape(len(x), -1)
    return blocks.Dense(self.classes, zero_bias=True, name="head_fc")(x)


class Block(nn.Module):
  """Two 3x3 convolutions of what is normalized first, beside a shortcut.

  Attributes:
    channels: of the output.
    stride: of the first convolution and of the shortcut.
    axis: where the batch is split over devices.
    corrections: see `BatchNorm`.
  """

  channels: int
  stride: int
  axis: types.Axis
  corrections: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w i"], train: bool
  ) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides."""
    bn1, bn2 = (
      BatchNorm(self.axis, corrections=self.corrections, name=name)
      for name in ("bn1", "bn2")
    )
    a = nn.relu(bn1(x, train))
    y = Conv(self.channels, 3, self.stride, name="conv1")(a)
    y = nn.relu(bn2(y, train))
    y = Conv(self.channels, 3, name="conv2")(y)
    if x.shape[-1] != self.channels:
      # Of the activation, not of x as in other residual networks.
      x = Conv(self.channels, 1, self.stride, name="shortcut")(a)
    return x + y


class Conv(nn.Module):
  """A square convolution without bias and with TensorFlow's "SAME" padding.

  Attributes:
    features: channels of the output.
    side: of the kernel.
    stride: in both directions.
  """

  features: int
  side: int
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides, rounded up."""
    init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    shape = (self.side, self.side, x.shape[-1], self.features)
    kernel = self.param("kernel", init, shape)
    around = [self._around(side) for side in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    # As `blocks.Conv`: layers this wide run no faster by the CPU's forms.
    with ops.own_forms(False):
      return ops.conv2d(x, kernel, self.stride)

  def _around(self, side):
    """Zeros before and after: the smaller half comes first."""
    last = (math.ceil(side / self.stride) - 1) * self.stride
    both = max(last + self.side - side, 0)
    return both // 2, both - both // 2


class BatchNorm(blocks.BatchNorm):
  """Batch normalization by TensorFlow's fused kernel.

  Attributes:
    corrections: how often the running variance is made unbiased: once, or twice
      as Keras does it to a variance that the kernel has corrected already.
  """

  # The kernel raises Keras's 1e-5 to this.
  epsilon: float = 1.001e-5
  corrections: int = 1

  def _bessel(self, count):
    once = super()._bessel(count)
    if self.corrections == 1:
      return once
    count *= self.axis.size
    return once * count / (count - (1 + 1e-5))


def _check_size(given: int, left: int) -> None:
  if left < _POOL:
    raise types.UserError(
      f"images of {given}x{given} are too small for a Wide ResNet, which"
      f" averages over {_POOL}x{_POOL} of a quarter of their side; use sides of"
      " 29 or more (data.image_size)."
    )
