"""Sums over all axes but the last one, two in one pass over the memory.

A GPU takes such a sum in two kernels, and two sums in four, unless they are one
reduction. XLA's CPU compiler does not vectorize a reduction of two arrays.
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def both(
  x: Float[Array, "*n c"], y: Float[Array, "*n c"]
) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
  """The sum of each of two arrays of one shape."""
  return lax.platform_dependent(x, y, cpu=_two_sums, default=_one_reduction)


@jax.custom_vjp
def moments(
  x: Float[Array, "*n c"],
) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
  """Mean and biased variance.

  E[x^2] - E[x]^2 would lose the variance of nearly constant channels to
  rounding. CPUs pass over x twice. Elsewhere numbers are measured from one of
  the channel's own, so that their mean is not far from 0 either (Chan, Golub
  and LeVeque, The American Statistician 1983, section 3).
  """
  return lax.platform_dependent(x, cpu=_two_passes, default=_one_pass)


def _two_sums(x, y):
  axes = _axes(x)
  return jnp.sum(x, axes), jnp.sum(y, axes)


def _one_reduction(x, y):
  zero = x.dtype.type(0)
  if x.ndim > 2:
    # Examples first: with all axes at once XLA writes x and y to the memory
    # before it reduces images of 16x16 and smaller.
    x, y = lax.reduce((x, y), (zero, zero), _add, (0,))
  return tuple(lax.reduce((x, y), (zero, zero), _add, _axes(x)))


def _add(one, other):
  return one[0] + other[0], one[1] + other[1]


def _both_forward(x, y):
  return both(x, y), (x, y)


def _both_backward(kept, cotangents):
  # Written out: JAX has no gradient of a reduction of two arrays.
  return tuple(
    jnp.broadcast_to(c, x.shape) for c, x in zip(cotangents, kept, strict=True)
  )


both.defvjp(_both_forward, _both_backward)


def _two_passes(x):
  axes = _axes(x)
  mean = jnp.mean(x, axes)
  return mean, jnp.mean((x - mean) ** 2, axes)


def _one_pass(x):
  start = x[(0,) * (x.ndim - 1)]
  moved = x - start
  count = x.size // x.shape[-1]
  mean, square = (total / count for total in _one_reduction(moved, moved**2))
  # Rounding leaves constant channels a little below 0.
  return start + mean, jnp.maximum(square - mean**2, 0)


def _moments_forward(x):
  mean, var = moments(x)
  return (mean, var), (x, mean)


def _moments_backward(kept, cotangents):
  x, mean = kept
  count = x.size // x.shape[-1]
  return ((cotangents[0] + 2 * cotangents[1] * (x - mean)) / count,)


moments.defvjp(_moments_forward, _moments_backward)


def _axes(x):
  return tuple(range(x.ndim - 1))
