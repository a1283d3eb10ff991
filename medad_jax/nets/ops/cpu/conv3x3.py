"""3x3 convolutions of stride 1: by Winograd's form or by XLA's convolution.

All forms agree to rounding. Kernels are (3, 3, in, out).
"""

from jax import lax
import jax.numpy as jnp

from medad_jax.nets.ops import library
from medad_jax.nets.ops.cpu import winograd3x3
from medad_jax.nets.ops.cpu.form import Form

# From as many channels on, in and out, a CPU saves more by fewer products than
# their sums cost.
_CHANNELS = 16


def same(x, kernel) -> Form:
  """The form with zero padding 1, which keeps the sides."""
  return winograd3x3.SAME if _by_winograd(x, kernel) else _THIN


def valid(x, kernel) -> Form | None:
  """The form without padding; None for XLA's own."""
  return winograd3x3.VALID if _by_winograd(x, kernel) else None


def _by_winograd(x, kernel):
  # Differences of pixels want the precision of float32.
  _, h, w, _ = x.shape
  return (
    min(kernel.shape[2:]) >= _CHANNELS
    and min(h, w) > 2
    and h % 2 == 0
    and w % 2 == 0
    and jnp.finfo(x.dtype).bits >= 32
  )


def _forward(x, kernel):
  return library.conv2d(x, kernel, 1, 1)


def _backward(x, kernel, dy):
  # The barrier keeps XLA from folding the transposition into the convolution,
  # whose dimension order its CPU library does not know (six times slower).
  turned = lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
  return _forward(dy, turned), _kernel_gradient(x, dy)


# XLA's convolution, with the kernel's gradient as nine matrix products. Patches
# of a full-resolution layer are too large, and XLA's convolution is quick but
# for this gradient: it sees a window as large as the image.
_THIN = Form(_forward, _backward)


def _kernel_gradient(x, dy):
  """The gradient of a 3x3 kernel as nine products, few channels shifted.

  A product copies its first factor, transposed, which costs as much as the
  product: that is the thin array, or else the one that all nine share.
  """
  i, o = x.shape[-1], dy.shape[-1]
  if i > o:  # the same sum seen from the other side
    swapped = lax.optimization_barrier(_kernel_gradient(dy, x))
    return swapped[::-1, ::-1].swapaxes(2, 3)
  if i < o:
    products = [_product(part, dy) for part in _shifts(x)]
  else:
    products = [_product(x, part) for part in reversed(_shifts(dy))]
  return jnp.stack(products).reshape(3, 3, i, o)


def _shifts(x):
  """The nine 3x3 neighbors of every pixel, zero beyond the border."""
  _, h, w, _ = x.shape
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  return [x[:, u : u + h, v : v + w] for u in range(3) for v in range(3)]


def _product(x, y):
  """Sum over pixels of the products of channels: [i, o]."""
  return jnp.tensordot(x, y, ((0, 1, 2), (0, 1, 2)))
