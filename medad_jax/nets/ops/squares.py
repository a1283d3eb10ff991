"""4x4 convolutions of stride 2, and transposed ones, on squares of pixels.

On squares of 2x2 pixels a 4x4 convolution of stride 2 is a 2x2 one of stride 1
with four times the channels, and so is its transpose. Numbers agree with XLA's
own operations to rounding.

Members under `vmap` are groups of one convolution. With a stride the gradients
of groups are convolutions of images with zeros between their pixels, which
GPUs' libraries multiply (of six autoencoders' step on an H100 36 of 71 GFLOP);
without a stride there are none.
"""

from jax import lax
from jaxtyping import Array, Float

from medad_jax.nets.ops import grouped


def serves(x, kernel, sizes: tuple[int, ...]) -> bool:
  """True if these functions compute it.

  Args:
    x: images.
    kernel: of the convolution or of the transposed one.
    sizes: stride, padding and, of the latter, output padding.
  """
  if kernel.shape[:2] != (4, 4) or sizes not in ((2, 1), (2, 1, 0)):
    return False
  # The transposed one takes images of all sides.
  return len(sizes) == 3 or not any(side % 2 for side in x.shape[1:3])


def conv2d(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "4 4 i o"],
  stride: int = 2,
  padding: int = 1,
) -> Float[Array, "b y x o"]:
  """Convolution 4x4, stride 2, zero padding 1."""
  del stride, padding
  b, h, w, i = x.shape
  x = lax.pad(x, x.dtype.type(0), ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0)))
  x = x.reshape(b, h // 2 + 1, 2, w // 2 + 1, 2, i).transpose(0, 1, 3, 2, 4, 5)
  # A tap's row is twice its square's and one of two in there.
  kernel = kernel.reshape(2, 2, 2, 2, i, -1).transpose(0, 2, 1, 3, 4, 5)
  return grouped.conv2d(
    x.reshape(*x.shape[:3], 4 * i), kernel.reshape(2, 2, 4 * i, -1), 1, 0
  )


def conv2d_transpose(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "4 4 i o"],
  stride: int = 2,
  padding: int = 1,
  output_padding: int = 0,
) -> Float[Array, "b y x o"]:
  """Transposed convolution 4x4, stride 2, padding 1: twice the sides."""
  del stride, padding, output_padding
  b, h, w, i = x.shape
  o = kernel.shape[-1]
  # Square p of the output holds its rows 2p-1 and 2p. Pixel p-1 reaches these
  # by the kernel's rows 2 and 3, and pixel p by 0 and 1.
  kernel = kernel.reshape(2, 2, 2, 2, i, o)[::-1, :, ::-1]
  kernel = kernel.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, i, 4 * o)
  y = grouped.conv2d(x, kernel, 1, 1).reshape(b, h + 1, w + 1, 2, 2, o)
  y = y.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h + 2, 2 * w + 2, o)
  return y[:, 1:-1, 1:-1]
