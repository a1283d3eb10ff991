"""XLA's own convolutions and products.

They inherit their precision from `jax.default_matmul_precision`.
"""

from jax import lax
from jaxtyping import Array, Float

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv2d(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "p q j o"],
  stride: int,
  padding: int,
  groups: int = 1,
  precision: str | None = None,
) -> Float[Array, "b y x o"]:
  """Convolution with zero padding on all four sides.

  Args:
    x: images.
    kernel: of i / groups input channels.
    stride: in both directions.
    padding: rows and columns of zeros.
    groups: of channels, each of which makes as large a part of the output.
    precision: of the products; None for the one around the call.
  """
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((padding, padding), (padding, padding)),
    dimension_numbers=_DIMENSIONS,
    feature_group_count=groups,
    precision=precision,
  )


def conv2d_transpose(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "p q i o"],
  stride: int,
  padding: int,
  output_padding: int,
) -> Float[Array, "b y x o"]:
  """Transposed convolution: a convolution of x with zeros between its pixels.

  That convolution sees the kernel upside down, from the other side.
  """
  # Without padding every pixel spreads over the whole kernel; padding cuts as
  # many rows and columns off again.
  before = [side - 1 - padding for side in kernel.shape[:2]]
  return lax.conv_general_dilated(
    x,
    kernel[::-1, ::-1],
    (1, 1),
    [(pad, pad + output_padding) for pad in before],
    lhs_dilation=(stride, stride),
    dimension_numbers=_DIMENSIONS,
  )


def conv2d_depthwise(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "p q 1 c"],
  stride: int,
  before: int,
  after: int,
) -> Float[Array, "b y x c"]:
  """Convolution of each channel by itself, with zero padding."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((before, after), (before, after)),
    dimension_numbers=_DIMENSIONS,
    feature_group_count=x.shape[-1],
  )


def matmul(
  x: Float[Array, "*n i"], kernel: Float[Array, "i o"]
) -> Float[Array, "*n o"]:
  """Matrix product on the last axis of x."""
  return x @ kernel
