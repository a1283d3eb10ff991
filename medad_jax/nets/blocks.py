"""Layers of the small nets: convolutions, batch normalization, dense.

Images are channels-last (b h w c), convolution kernels are (height, width, in,
out). Initial values are uniform in +-1/sqrt(fan in), as PyTorch draws them by
default.
"""

import functools
import math

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import ops


def uniform_fan_in(fan_in: int) -> jax.nn.initializers.Initializer:
  """Uniform in +-1/sqrt(fan_in), PyTorch's default for weights and biases."""
  bound = 1 / math.sqrt(fan_in)

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def around_one(key, shape, dtype=jnp.float32) -> Array:
  """Normal with mean 1 and deviation 0.02, DCGAN's scales."""
  return 1 + 0.02 * jax.random.normal(key, shape, dtype)


class Dense(nn.Module):
  """A linear layer on the last axis (a 1x1 convolution, for images).

  Attributes:
    features: of the output.
    use_bias: whether a bias is added.
    zero_bias: whether the bias starts at zero, as Keras's does.
  """

  features: int
  use_bias: bool = True
  zero_bias: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    """x @ kernel + bias."""
    init = uniform_fan_in(x.shape[-1])
    kernel = self.param("kernel", init, (x.shape[-1], self.features))
    y = ops.matmul(x, kernel)
    if not self.use_bias:
      return y
    if self.zero_bias:
      init = nn.initializers.zeros
    return shifted(y, self.param("bias", init, y.shape[-1:]))


class Conv4x4s2(nn.Module):
  """Convolution 4x4, stride 2, zero padding 1, no bias: halves each side."""

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of half the sides."""
    shape = (4, 4, x.shape[-1], self.features)
    init = uniform_fan_in(16 * x.shape[-1])
    kernel = self.param("kernel", init, shape)
    return ops.conv2d(x, kernel, stride=2, padding=1)


class ConvTranspose4x4s2(nn.Module):
  """Transposed convolution 4x4, stride 2, padding 1, no bias: doubles sides.

  The kernel is (4, 4, in, out) and is not flipped: input pixel (i, j) adds
  `x[i, j] @ kernel[a, b]` to output pixel (2i + a - 1, 2j + b - 1). The fan in
  of its initial values is 16 * out, as in PyTorch.
  """

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of twice the sides."""
    shape = (4, 4, x.shape[-1], self.features)
    init = uniform_fan_in(16 * self.features)
    kernel = self.param("kernel", init, shape)
    return ops.conv2d_transpose(x, kernel, stride=2, padding=1)


class Conv3x3(nn.Module):
  """Convolution 3x3, stride 1, zero padding 1: keeps the sides."""

  features: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
    """Images of the same sides."""
    init = uniform_fan_in(9 * x.shape[-1])
    shape = (3, 3, x.shape[-1], self.features)
    y = ops.conv2d(x, self.param("kernel", init, shape), padding=1)
    if not self.use_bias:
      return y
    return shifted(y, self.param("bias", init, y.shape[-1:]))


class Conv(nn.Module):
  """A square convolution that pads with zeros, for torchvision's networks.

  Initial values are torchvision's: kernels normal with variance
  2 / (side * side * out), biases zero.

  Attributes:
    features: channels of the output.
    side: of the kernel.
    stride: in both directions.
    use_bias: whether a bias is added.
    kernel_init: draws other kernels than torchvision's.
    padding: on all four sides; None for half the side, rounded down.
  """

  features: int
  side: int
  stride: int = 1
  use_bias: bool = False
  kernel_init: jax.nn.initializers.Initializer = (
    nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  )
  padding: int | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
    """Images of 1/stride of the sides."""
    shape = (self.side, self.side, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    padding = self.side // 2 if self.padding is None else self.padding
    # Layers this wide run no faster by the CPU's forms, whose programs take
    # twice as long to compile and more memory.
    with ops.own_forms(False):
      y = ops.conv2d(x, kernel, self.stride, padding)
    if not self.use_bias:
      return y
    return shifted(y, self.param("bias", nn.initializers.zeros, y.shape[-1:]))


class BatchNorm(nn.Module):
  """Batch normalization over all axes but the last, as PyTorch computes it.

  In training, statistics are those of the GLOBAL batch: the biased variance
  normalizes, and the unbiased one goes into the running average unless
  `unbiased` is False, as in TensorFlow 1.

  Attributes:
    axis: where the batch is split over devices.
    momentum: weight of the new batch in the running averages.
    epsilon: added to the variance.
    unbiased: whether the running variance is.
    scale_init: draws the first scales.
  """

  axis: types.Axis = types.Axis()
  momentum: float = 0.1
  epsilon: float = 1e-5
  unbiased: bool = True
  scale_init: jax.nn.initializers.Initializer = nn.initializers.ones

  @nn.compact
  def __call__(
    self, x: Float[Array, "*n c"], train: bool
  ) -> Float[Array, "*n c"]:
    """x normalized, by the batch in training and by its past otherwise."""
    shape = (x.shape[-1],)
    scale = self.param("scale", self.scale_init, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
    var = self.variable("batch_stats", "var", jnp.ones, shape)
    if not train:
      factor = lax.rsqrt(var.value + self.epsilon) * scale
      y = (widened(x) - mean.value) * factor + bias
      return y.astype(x.dtype)
    y, batch_mean, batch_var = normalized(
      x, scale, bias, self.axis, self.epsilon
    )
    if not self.is_initializing():
      factor = self._bessel(x.size // x.shape[-1]) if self.unbiased else 1
      mean.value += self.momentum * (batch_mean - mean.value)
      var.value += self.momentum * (factor * batch_var - var.value)
    return y

  def _bessel(self, count):
    count *= self.axis.size
    if count < 2:
      raise types.UserError(
        "a training batch of one example has no variance to normalize by: "
        "batch_size=1 was given, set it to 2 or more"
      )
    return count / (count - 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalized(
  x: Float[Array, "*n c"],
  scale: Float[Array, "c"],
  bias: Float[Array, "c"],
  axis: types.Axis,
  epsilon: float,
) -> tuple[Float[Array, "*n c"], Float[Array, "c"], Float[Array, "c"]]:
  """x by the statistics of the global batch, scaled and shifted; and these.

  Its gradient is the closed one (Ioffe and Szegedy, ICML 2015, section 3) with
  two sums over the batch, taken together. Derived by JAX it has four, one after
  another. The mean and the biased variance that are returned have none.

  Args:
    x: over all axes but the last one of which statistics are taken.
    scale: factor of each channel.
    bias: added to each channel.
    axis: where the batch is split over devices.
    epsilon: added to the variance.
  """
  return _normalized(x, scale, bias, axis, epsilon)[0]


def _normalized(x, scale, bias, axis, epsilon):
  mean, var = _statistics(widened(x), axis)
  inverse = lax.rsqrt(var + epsilon)
  y = (widened(x) - mean) * (inverse * scale) + bias
  return (y.astype(x.dtype), mean, var), (x, scale, mean, inverse)


def _normalized_backward(axis, epsilon, kept, cotangents):
  del epsilon
  x, scale, mean, inverse = kept
  # Those of the statistics are zeros: only running averages read them.
  dy = widened(cotangents[0])
  # From x and not from y: a scale may be zero.
  unit = (widened(x) - mean) * inverse
  dbias, dscale = ops.sum_both(dy, dy * unit)
  count = x.size // x.shape[-1]
  shift, tilt = axis.mean((dbias / count, dscale / count))
  dx = (dy - shift - unit * tilt) * (inverse * scale)
  return dx.astype(x.dtype), dscale, dbias


normalized.defvjp(_normalized, _normalized_backward)


def _statistics(x, axis):
  """Mean and biased variance of each channel, over the global batch."""
  mean, var = ops.moments(x)
  if axis.size == 1:
    return mean, var
  whole = axis.mean(mean)
  # Parts' own variances, and that of their means.
  return whole, axis.mean(var + (mean - whole) ** 2)


def widened(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
  """x in float32 or more: sums over many numbers want it."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def shifted(y: Float[Array, "*n c"], bias: Float[Array, "c"]) -> Array:
  """y + bias, in y's type.

  The gradient of the bias is a sum over all pixels: in bfloat16 it would stop
  growing after a few hundred.
  """
  return (widened(y) + widened(bias)).astype(y.dtype)
