"""4x4 convolutions of stride 2, and transposed ones, as matrix products.

All forms agree to rounding; the choice depends on channels and sides. Kernels
are (4, 4, in, out); padding is 1, so that sides halve or double.
"""

import functools

import jax
import jax.numpy as jnp

from medad_jax.nets.ops.cpu import products, winograd4x4
from medad_jax.nets.ops.cpu.form import Form, derived

# From as many channels of the larger images on, Winograd's saving in products
# exceeds what its sums cost on a CPU.
_CHANNELS = 16


def convolution(x, kernel) -> Form | None:
  """The form for stride 2, zero padding 1; None where a side is odd."""
  i, o = kernel.shape[2:]
  sides = x.shape[1:3]
  if any(side % 2 for side in sides):
    return None
  if _by_winograd(x.dtype, i, sides):
    return winograd4x4.CONVOLUTION
  # One product on patches, or on 2x2 pixels with four parts to add: what lies
  # between is 16 i or 4 o wide.
  return derived(_patches if 4 * i <= o else _summed)


def transposed(x, kernel) -> Form:
  """The form of the transposed convolution, to twice the sides."""
  i, o = kernel.shape[2:]
  if _by_winograd(x.dtype, o, [2 * side for side in x.shape[1:3]]):
    return winograd4x4.TRANSPOSED
  # The last layer makes one channel of many: there the products are smaller
  # than the windows (an eighth of the step's time on a CPU).
  blocks = _sum_blocks if 4 * o < i else _window_blocks
  return derived(functools.partial(_unfolded, blocks))


def _by_winograd(kind, channels, sides):
  """Of the larger images: whether they are wide enough and divide.

  Differences of pixels want the precision of float32.
  """
  return (
    channels >= _CHANNELS
    and all(side % 4 == 0 for side in sides)
    and jnp.finfo(kind).bits >= 32
  )


def _unfolded(blocks, x, kernel):
  """Images of twice the sides, from 2x2 pixels in the channels."""
  _, h, w, _ = x.shape
  o = kernel.shape[-1]
  y = blocks(x, kernel).reshape(-1, h + 1, w + 1, 2, 2, o)
  y = y.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 2 * h + 2, 2 * w + 2, o)
  return y[:, 1:-1, 1:-1]


def _summed(x, kernel):
  """Products of 2x2 pixels with four 2x2 blocks of the kernel, then a sum."""
  b, h, w, c = x.shape
  y, z = h // 2, w // 2
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  # XLA copies rows beside each other faster than it transposes.
  rows = x.reshape(b, y + 1, 2, z + 1, 2 * c)
  x = jnp.stack([rows[:, :, 0], rows[:, :, 1]], axis=3)
  kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(1, 3, 4, 0, 2, 5)
  parts = products.matmul(
    x.reshape(b, y + 1, z + 1, 4 * c), kernel.reshape(4 * c, -1)
  )
  corners = [(u, v) for u in (0, 1) for v in (0, 1)]
  return sum(
    part[:, u : u + y, v : v + z]
    for part, (u, v) in zip(jnp.split(parts, 4, axis=-1), corners, strict=True)
  )


def _patches(x, kernel):
  """One product on patches in the kernel's own order (row, column, in)."""
  b, h, w, c = x.shape
  y, z = h // 2, w // 2
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  # Four columns first, then four rows of these: XLA copies long runs faster.
  # The barrier keeps the two copies apart.
  pairs = x.reshape(b, h + 2, z + 1, 2 * c)
  columns = jnp.concatenate([pairs[:, :, :z], pairs[:, :, 1:]], axis=-1)
  rows = jax.lax.optimization_barrier(columns).reshape(b, y + 1, 2, z, 4 * c)
  patches = jnp.concatenate(
    [rows[:, u : u + y, row] for u in (0, 1) for row in (0, 1)], axis=-1
  )
  return products.matmul(patches, kernel.reshape(16 * c, -1))


def _window_blocks(x, kernel):
  """One product on 2x2 windows: [b, h + 1, w + 1, 4 * features]."""
  _, h, w, c = x.shape
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  # Window (p, q) holds the pixels p-1 and p that reach the output rows 2p-1
  # and 2p: the first through the kernel's rows 2 and 3, the second 0 and 1.
  windows = jnp.stack(
    [x[:, u : u + h + 1, v : v + w + 1] for u in (0, 1) for v in (0, 1)],
    axis=-2,
  ).reshape(-1, h + 1, w + 1, 4 * c)
  kernel = kernel.reshape(2, 2, 2, 2, c, -1)[::-1, :, ::-1]
  kernel = kernel.transpose(0, 2, 4, 1, 3, 5).reshape(4 * c, -1)
  return products.matmul(windows, kernel)


def _sum_blocks(x, kernel):
  """One product on pixels, then the sum of its four shifted parts."""
  c = x.shape[-1]
  kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(4, 0, 2, 1, 3, 5)
  parts = jnp.split(products.matmul(x, kernel.reshape(c, -1)), 4, axis=-1)
  corners = [(u, v) for u in (0, 1) for v in (0, 1)]
  return sum(
    jnp.pad(part, ((0, 0), (u, 1 - u), (v, 1 - v), (0, 0)))
    for part, (u, v) in zip(parts, corners, strict=True)
  )
