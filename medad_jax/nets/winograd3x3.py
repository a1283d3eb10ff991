"""3x3 convolutions of stride 1 with sixteen products for thirty-six, on CPUs.

Along an axis, two outputs of four pixels d and three taps g,

  d0 g0 + d1 g1 + d2 g2      d1 g0 + d2 g1 + d3 g2,

take four products instead of six: Winograd's F(2, 3), as Lavin and Gray apply
it to images (arXiv:1509.09308, section 4.1). Along both axes sixteen products
make 2x2 outputs of 4x4 pixels, in float32 not less exact than the direct form.

As in `winograd.py` a tile's sixteen sides are arrays of their own, one row a
tile, and gradients are adjoints of linear maps: pixels to tiles (`_tiles`) and
back (`_untiled`), products to outputs (`_outputs`) and back (`_spread`).
"""

from collections.abc import Sequence

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax.nets import products


@jax.custom_vjp
def convolution(
  x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b y x o"]:
  """Without padding: sides shrink by 2. They are even, and 4 or more.

  Where no gradient is asked for it is XLA's convolution, which needs less
  than a quarter of the memory.
  """
  return library(x, kernel)


def library(
  x: Float[Array, "b h w i"], kernel: Float[Array, "3 3 i o"]
) -> Float[Array, "b y x o"]:
  """The same numbers by XLA's convolution, for sides of any length."""
  return lax.conv_general_dilated(
    x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _forward(x, kernel):
  tiles = _tiles(x)
  made = [v @ u for v, u in zip(tiles, _sides(kernel), strict=True)]
  return _outputs(made, x.shape), (tiles, kernel, x.shape)


def _backward(residuals, dy):
  tiles, kernel, shape = residuals
  sides, sides_back = jax.vjp(_sides, kernel)
  made = _spread(dy)
  each = zip(tiles, sides, made, strict=True)
  dx, dk = zip(*(products.gradients(*one) for one in each), strict=True)
  return _untiled(dx, shape), *sides_back(list(dk))


convolution.defvjp(_forward, _backward)


def _sides(kernel):
  """The kernel's sides of the sixteen products, each [i, o]."""

  def four(g):
    outer = g[0] + g[2]
    return g[0], (outer + g[1]) / 2, (outer - g[1]) / 2, g[2]

  return [side for row in four(kernel) for side in four(row)]


def _tiles(x):
  """The pixels' sides of the sixteen products, each [tiles, i]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // 2, 2, w // 2, 2, c)
  return [
    side.reshape(-1, c)
    for row in _differences(x[:, :, 0], x[:, :, 1], 1)
    for side in _differences(row[:, :, :, 0], row[:, :, :, 1], 2)
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

  def part(x, start):
    return lax.slice_in_dim(x, start, start + last, axis=axis)

  d = part(even, 0), part(odd, 0), part(even, 1), part(odd, 1)
  return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _differences_back(parts: Sequence[Array], axis: int) -> list[Array]:
  """The adjoint of `_differences`: the pairs' first and second pixels."""
  a, b, c, d = parts

  def padded(x, before):
    sizes = [(0, 0)] * x.ndim
    sizes[axis] = (before, 1 - before)
    return jnp.pad(x, sizes)

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

  def four(first, second):
    return first, first + second, first - second, -second

  return [
    part.reshape(-1, o)
    for row in four(y[:, :, 0], y[:, :, 1])
    for part in four(row[:, :, :, 0], row[:, :, :, 1])
  ]
