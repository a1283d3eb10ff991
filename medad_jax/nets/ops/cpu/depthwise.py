"""Depthwise convolutions: one product for each place of the kernel.

For the layers of EfficientNet-lite0, XLA's grouped convolution takes 5 to 15
times as long on CPUs.
"""

import functools

import jax
import jax.numpy as jnp

from medad_jax.nets.ops.cpu.form import Form


@functools.cache
def convolution(stride: int, before: int, after: int) -> Form:
  """The form of `library.conv2d_depthwise`.

  Args:
    stride: in both directions.
    before: zeros above and on the left.
    after: zeros below and on the right.
  """
  edges = (before, after)

  def forward(x, kernel):
    height, width = kernel.shape[:2]
    x = jnp.pad(x, ((0, 0), edges, edges, (0, 0)))
    rows = (x.shape[1] - height) // stride * stride + 1
    columns = (x.shape[2] - width) // stride * stride + 1
    # XLA makes one loop of it, along channels that lie side by side in memory.
    return sum(
      x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j]
      for i in range(height)
      for j in range(width)
    )

  def backward(x, kernel, dy):
    # As JAX derives it: no method trains such layers, so nothing is tuned.
    return jax.vjp(forward, x, kernel)[1](dy)

  return Form(forward, backward, forward)
