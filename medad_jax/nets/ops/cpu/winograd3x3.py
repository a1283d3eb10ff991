"""3x3 convolutions of stride 1 with sixteen products for thirty-six, on CPUs.

Along an axis, two outputs of four pixels d and three taps g,

  d0 g0 + d1 g1 + d2 g2      d1 g0 + d2 g1 + d3 g2,

take four products instead of six: Winograd's F(2, 3), as Lavin and Gray apply
it to images (arXiv:1509.09308, section 4.1). Along both axes sixteen products
make 2x2 outputs of 4x4 pixels, in float32 not less exact than the direct form.

As in `winograd4x4.py` a tile's sixteen sides are arrays of their own, one row a
tile, and gradients are adjoints of linear maps: pixels to tiles (`_tiles`) and
back (`_untiled`), products to outputs (`_outputs`) and back (`_spread`).
"""

from collections.abc import Sequence

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array

from medad_jax.nets.ops.cpu import products
from medad_jax.nets.ops.cpu.form import Form


def _forward(x, kernel):
  made = [v @ u for v, u in zip(_tiles(x), _sides(kernel), strict=True)]
  return _outputs(made, x.shape)


def _backward(x, kernel, dy):
  sides, sides_back = jax.vjp(_sides, kernel)
  each = zip(_tiles(x), sides, _spread(dy), strict=True)
  dx, dk = zip(*(products.gradients(*one) for one in each), strict=True)
  return _untiled(dx, x.shape), *sides_back(list(dk))


# Without padding: sides shrink by 2. They are even, and 4 or more. Without
# gradients XLA's convolution needs less than a quarter of the memory.
VALID = Form(_forward, _backward)


def _padded(x):
  return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _same_forward(x, kernel):
  return _forward(_padded(x), kernel)


def _same_backward(x, kernel, dy):
  dx, dk = _backward(_padded(x), kernel, dy)
  return dx[:, 1:-1, 1:-1], dk


# With zero padding 1, which keeps the sides.
SAME = Form(_same_forward, _same_backward)


def _sides(kernel):
  """The kernel's sides of the sixteen products, each [i, o]."""

  sides = []
  for row in _four_sides(kernel):
    sides += _four_sides(row)
  return sides


def _four_sides(taps):
  first, middle, last = jnp.unstack(taps)
  outer = first + last
  return [first, (outer + middle) / 2, (outer - middle) / 2, last]


def _tiles(x):
  """The pixels' sides of the sixteen products, each [tiles, i]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, c)
  return [
    side.reshape(-1, c)
    for row in _differences(*jnp.unstack(x, axis=2), 1)
    for side in _differences(*jnp.unstack(row, axis=3), 2)
  ]


def _untiled(tiles, shape):
  """The adjoint of `_tiles`: pixels [b, h, w, c] of that shape."""
  b, h, w, c = shape
  tiles = [v.reshape(b, h // 2 - 1, w // 2 - 1, c) for v in tiles]
  rows = [
    jnp.stack(_differences_back(tiles[j : j + 4], 2), 3)
    for j in range(0, 16, 4)
  ]
  return jnp.stack(_differences_back(rows, 1), 2).reshape(shape)


def _differences(even: Array, odd: Array, axis: int) -> list[Array]:
  """d0 - d2, d1 + d2, d2 - d1 and d1 - d3 of neighboring pairs of pixels.

  Args:
    even: the first pixels of pairs; with the pair after it a pair makes a tile.
    odd: their second pixels.
    axis: of the pairs.
  """
  last = even.shape[axis] - 1
  d0, d1, d2, d3 = (
    lax.slice_in_dim(pixels, start, start + last, axis=axis)
    for start in (0, 1)
    for pixels in (even, odd)
  )
  return [d0 - d2, d1 + d2, d2 - d1, d1 - d3]


def _differences_back(parts: Sequence[Array], axis: int) -> list[Array]:
  """The adjoint of `_differences`: the pairs' first and second pixels."""
  a, b, c, d = parts

  def padded(x, before):
    sizes = [(0, 0, 0)] * x.ndim
    sizes[axis] = (before, 1 - before, 0)
    return lax.pad(x, x.dtype.type(0), sizes)

  return [
    padded(a, 0) + padded(b + c - a, 1),
    padded(b - c + d, 0) - padded(d, 1),
  ]


def _outputs(made, shape):
  """Sums of the sixteen products: images of that shape but for the border."""
  b, h, w, _ = shape
  tiles = b, h // 2 - 1, w // 2 - 1, -1

  def two(m):
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]

  columns = [
    jnp.stack(two([m.reshape(tiles) for m in made[j : j + 4]]), 3)
    for j in range(0, 16, 4)
  ]
  return jnp.stack(two(columns), 2).reshape(b, h - 2, w - 2, -1)


def _spread(y):
  """The adjoint of `_outputs`: sixteen of [tiles, o]."""
  b, h, w, o = y.shape
  y = y.reshape(b, h // 2, 2, w // 2, 2, o)

  upper, lower = jnp.unstack(y, axis=2)
  parts = []
  for row in (upper, upper + lower, upper - lower, -lower):
    left, right = jnp.unstack(row, axis=3)
    parts += [left, left + right, left - right, -right]
  return [part.reshape(-1, o) for part in parts]
