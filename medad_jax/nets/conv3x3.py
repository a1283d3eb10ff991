"""3x3 convolutions of stride 1: XLA's, as matrix products, or by Winograd.

All forms give the same numbers to rounding. Kernels are (3, 3, in, out).
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax.nets import winograd, winograd3x3

# From as many channels on, in and out, a CPU saves more by fewer products than
# their sums cost.
_CHANNELS = 16


def same(
  x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b h w o"]:
  """With zero padding 1: keeps the sides."""
  if _by_winograd(x, kernel):
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return winograd3x3.convolution(x, kernel)
  return _by_library(x, kernel)


def valid(
  x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b y x o"]:
  """Without padding: sides shrink by 2."""
  if _by_winograd(x, kernel):
    return winograd3x3.convolution(x, kernel)
  return winograd3x3.library(x, kernel)


def library(
  x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b h w o"]:
  """As `same`, by XLA's convolution and its gradients."""
  return lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    ((1, 1), (1, 1)),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _by_winograd(x, kernel):
  return (
    min(kernel.shape[2:]) >= _CHANNELS
    and all(side % 2 == 0 and side > 2 for side in x.shape[1:3])
    and winograd.serves(x.dtype)
  )


@jax.custom_vjp
def _by_library(x, kernel):
  """XLA's convolution, with the kernel's gradient as nine matrix products.

  Patches of a full-resolution layer are too large, and XLA's CPU convolution
  is quick but for this gradient: it sees a 64x64 window.
  """
  return library(x, kernel)


def _forward(x, kernel):
  return library(x, kernel), (x, kernel)


def _backward(residuals, dy):
  x, kernel = residuals
  # The barrier keeps XLA from folding the transposition into the convolution,
  # whose dimension order its CPU library does not know (six times slower).
  turned = lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
  return library(dy, turned), _kernel_gradient(x, dy)


_by_library.defvjp(_forward, _backward)


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
