"""Forms of convolutions and products that CPUs compute fast.

XLA's CPU convolutions are slow where gradients are taken, several times slower
inside a loop, and slower still for members under `vmap`, whose own kernels make
them grouped convolutions. Matrix products have none of these troubles.

Only `medad_jax.nets.ops` imports this folder. All forms agree with XLA's own
operations to rounding; channels and sides decide which one is used.
`python -m benchmarks.convolutions` says whether the folder is still worth it.
"""

from medad_jax.nets.ops.cpu import conv3x3, depthwise, products, strided
from medad_jax.nets.ops.cpu.form import Form


def conv2d(x, kernel, stride: int, padding: int) -> Form | None:
  """The form of this convolution; None for XLA's own."""
  return {
    (4, 4, 2, 1): strided.convolution,
    (3, 3, 1, 0): conv3x3.valid,
    (3, 3, 1, 1): conv3x3.same,
  }.get((*kernel.shape[:2], stride, padding), _none)(x, kernel)


def conv2d_transpose(
  x, kernel, stride: int, padding: int, output_padding: int
) -> Form | None:
  """The form of this transposed convolution; None for XLA's own."""
  sizes = (*kernel.shape[:2], stride, padding, output_padding)
  return strided.transposed(x, kernel) if sizes == (4, 4, 2, 1, 0) else None


def conv2d_depthwise(x, kernel, stride: int, before: int, after: int) -> Form:
  """The form of this convolution of each channel by itself."""
  del x, kernel  # for all shapes
  return depthwise.convolution(stride, before, after)


def matmul(x, kernel) -> Form:
  """The form of a product on the last axis of x."""
  del x, kernel
  return products.MATMUL


def _none(x, kernel):
  del x, kernel
