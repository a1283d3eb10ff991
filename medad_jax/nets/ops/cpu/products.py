"""Matrix products in the forms that CPUs multiply fast.

XLA's CPU library copies one factor of a product before it multiplies: the first
where it must be transposed, the second otherwise. The thinner one comes there.

JAX's own gradient of a kernel lies transposed in memory, and XLA's CPU compiler
reads it against its order in every sum of the optimizer: a third of an
autoencoder's step.
"""

from collections.abc import Callable

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax.nets.ops.cpu.form import Form


def bilinear(rows: Callable, sides: Callable, collect: Callable) -> Form:
  """The form of a convolution that is one product of arranged arrays.

  Args:
    rows: arranges x, [b h w i] -> [b p q m]; linear.
    sides: arranges the kernel, -> [m n]; linear.
    collect: ([b p q n], shape of x) -> y; linear.
  """

  def forward(x, kernel):
    return collect(rows(x) @ sides(kernel), x.shape)

  def backward(x, kernel, dy):
    v, rows_back = jax.vjp(rows, x)
    u, sides_back = jax.vjp(sides, kernel)
    made = jax.ShapeDtypeStruct((*v.shape[:-1], u.shape[-1]), v.dtype)
    collect_back = jax.linear_transpose(lambda y: collect(y, x.shape), made)
    dv, du = _gradients(v, u, *collect_back(dy))
    return *rows_back(dv), *sides_back(du)

  return Form(forward, backward, forward)


def _times(x, kernel):
  if x.ndim > 2 or len(x) >= min(kernel.shape):
    return x @ kernel
  # The first factor, transposed, is copied: a batch, not a dense layer.
  turned = lax.optimization_barrier(x.T)
  return jnp.tensordot(turned, kernel, ((0,), (0,)))


def _gradients(x, kernel, dy):
  rows, columns = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
  dx, dk = gradients(rows, kernel, columns)
  return dx.reshape(x.shape), dk


MATMUL = Form(_times, _gradients, _times)


def gradients(
  x: Float[Array, "n i"], kernel: Float[Array, "i o"], dy: Float[Array, "n o"]
) -> tuple[Float[Array, "n i"], Float[Array, "i o"]]:
  """Gradients of x and of the kernel, from that of x @ kernel."""
  return times_transposed(dy, kernel), transposed_times(x, dy)


def times_transposed(
  x: Float[Array, "n o"], kernel: Float[Array, "i o"]
) -> Float[Array, "n i"]:
  """x @ kernel.T."""
  if x.shape[0] >= min(kernel.shape):
    return jnp.tensordot(x, kernel, ((1,), (1,)))
  # The smaller factor second: a dense layer's kernel is larger than its batch.
  # Barriers keep XLA from turning it back.
  turned = lax.optimization_barrier(x.T)
  return lax.optimization_barrier(kernel @ turned).T


def transposed_times(
  x: Float[Array, "n i"], y: Float[Array, "n o"]
) -> Float[Array, "i o"]:
  """x.T @ y."""
  contracted = ((0,), (0,))
  if x.shape[1] <= y.shape[1] or x.shape[0] <= x.shape[1]:
    return jnp.tensordot(x, y, contracted)
  return lax.optimization_barrier(jnp.tensordot(y, x, contracted)).T
