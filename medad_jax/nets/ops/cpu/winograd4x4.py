"""4x4 convolutions of stride 2 with nine products for sixteen, on CPUs.

On blocks of 2x2 pixels a 4x4 convolution of stride 2 is a 2x2 one of stride 1.
Along an axis, two outputs of three blocks d and two taps g,

  d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
  d1 g0 + d2 g1 =                d1 (g0 + g1) + (d2 - d1) g1,

take three products instead of four: Winograd's F(2, 2), as Lavin and Gray apply
it to images (arXiv:1509.09308, section 4.1). Along both axes nine products make
2x2 outputs of 4x4 pixels. Its differences lose less than a digit of float32.

Here such a tile's nine sides are arrays of their own, one row a tile. The
transposed convolution and all gradients are adjoints of four linear maps:
pixels to tiles (`_tiles`) and back (`_untiled`), products to outputs
(`_outputs`) and back (`_spread`).
"""

from collections.abc import Sequence

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array

from medad_jax.nets.ops.cpu import products
from medad_jax.nets.ops.cpu.form import Form


def _convolution(x, kernel):
  made = [v @ u for v, u in zip(_tiles(x), _sides(kernel), strict=True)]
  return _outputs(made, x.shape)


def _convolution_backward(x, kernel, dy):
  sides, sides_back = jax.vjp(_sides, kernel)
  each = zip(_tiles(x), sides, _spread(dy), strict=True)
  dx, dk = zip(*(products.gradients(*one) for one in each), strict=True)
  return _untiled(dx, x.shape), *sides_back(list(dk))


def _transposed(x, kernel):
  b, h, w, _ = x.shape
  tiles = [
    products.times_transposed(m, u)
    for m, u in zip(_spread(x), _turned_sides(kernel), strict=True)
  ]
  return _untiled(tiles, (b, 2 * h, 2 * w, kernel.shape[-1]))


def _transposed_backward(x, kernel, dy):
  sides, sides_back = jax.vjp(_turned_sides, kernel)
  tiles = _tiles(dy)
  dx = [v @ u for v, u in zip(tiles, sides, strict=True)]
  dk = [
    products.transposed_times(v, m)
    for v, m in zip(tiles, _spread(x), strict=True)
  ]
  return _outputs(dx, dy.shape), *sides_back(dk)


# Sizes of `lax.pad` along each axis that move tiles by one: a zero comes in
# before or after them, and what leaves on the other side is cut off.
_KEPT = (0, 0, 0)
_BEFORE = {
  1: (_KEPT, (1, -1, 0), _KEPT, _KEPT),
  2: (_KEPT, _KEPT, (1, -1, 0), _KEPT),
}
_AFTER = {
  1: (_KEPT, (-1, 1, 0), _KEPT, _KEPT),
  2: (_KEPT, _KEPT, (-1, 1, 0), _KEPT),
}

# Stride 2, zero padding 1; sides are multiples of 4.
CONVOLUTION = Form(_convolution, _convolution_backward, _convolution)
# To twice the sides, which are even.
TRANSPOSED = Form(_transposed, _transposed_backward, _transposed)


def _sides(kernel):
  """The kernel's sides of the nine products, each [4 i, o]."""
  i, o = kernel.shape[2:]
  taps = kernel.reshape(2, 2, 2, 2, i, o).transpose(0, 2, 1, 3, 4, 5)
  taps = taps.reshape(2, 2, 4 * i, o)

  upper, lower = jnp.unstack(taps)
  sides = []
  for row in (upper, upper + lower, lower):
    left, right = jnp.unstack(row)
    sides += [left, left + right, right]
  return sides


def _turned_sides(kernel):
  """The same for inputs and outputs exchanged, each [4 o, i]."""
  return _sides(kernel.swapaxes(2, 3))


def _tiles(x):
  """The pixels' sides of the nine products, each [tiles, 4 i]."""
  b, h, w, c = x.shape
  rows = jnp.unstack(x.reshape(b, h // 4, 4, w * c), axis=2)
  found = []
  for both in _differences(rows, 1):
    # Whole rows first: XLA's loops over long runs are the quick ones.
    upper, lower = (row.reshape(b, h // 4, w // 4, 4, c) for row in both)
    pair = (
      _differences(jnp.unstack(upper, axis=3), 2),
      _differences(jnp.unstack(lower, axis=3), 2),
    )
    for j in range(3):
      block = [pair[r][j][s] for r in (0, 1) for s in (0, 1)]
      found.append(jnp.stack(block, 3).reshape(-1, 4 * c))
  return found


def _untiled(tiles, shape):
  """The adjoint of `_tiles`: pixels [b, h, w, c] of that shape."""
  b, h, w, c = shape
  blocks = [
    jnp.unstack(tile.reshape(b, h // 4, w // 4, 4, c), axis=3) for tile in tiles
  ]
  rows = []
  for at in (0, 3, 6):
    for row in (0, 2):
      pairs = [block[row : row + 2] for block in blocks[at : at + 3]]
      pixels = jnp.stack(_differences_back(pairs, 2), 3)
      rows.append(pixels.reshape(b, h // 4, w, c))
  # Rows last, whole, as in `_tiles`.
  pairs = [rows[:2], rows[2:4], rows[4:]]
  return jnp.stack(_differences_back(pairs, 1), 2).reshape(shape)


def _differences(
  pixels: Sequence[Array], axis: int
) -> list[tuple[Array, Array]]:
  """d0 - d1, d1 and d2 - d1 of blocks of two pixels, along an axis of tiles.

  Args:
    pixels: the first to fourth of each tile. A tile's first block reaches one
      pixel back into the tile before, its third into the one after.
    axis: of the tiles.
  """
  a, b, c, d = pixels
  before, after = _BEFORE[axis][: a.ndim], _AFTER[axis][: a.ndim]
  zero = a.dtype.type(0)
  return [
    (lax.pad(d, zero, before) - b, a - c),
    (b, c),
    (d - b, lax.pad(a, zero, after) - c),
  ]


def _differences_back(
  blocks: Sequence[Sequence[Array]], axis: int
) -> list[Array]:
  """The adjoint of `_differences`: four pixels of three blocks of two."""
  first, middle, last = blocks
  before, after = _BEFORE[axis], _AFTER[axis]
  zero = first[0].dtype.type(0)
  return [
    first[1] + lax.pad(last[1], zero, before),
    middle[0] - first[0] - last[0],
    middle[1] - first[1] - last[1],
    lax.pad(first[0], zero, after) + last[0],
  ]


def _outputs(made, shape):
  """Sums of the nine products: images of half the sides of that shape."""
  b, h, w, _ = shape
  m = [x.reshape(b, h // 4, w // 4, -1) for x in made]
  # An output is the sum of a corner of 2x2 in the square of 3x3 products.
  sums = [m[at] + m[at + 1] + m[at + 3] + m[at + 4] for at in (0, 1, 3, 4)]
  rows = [jnp.stack(sums[:2], 3), jnp.stack(sums[2:], 3)]
  return jnp.stack(rows, 2).reshape(b, h // 2, w // 2, -1)


def _spread(y):
  """The adjoint of `_outputs`: nine of [tiles, o]."""
  b, h, w, o = y.shape
  y = y.reshape(b, h // 2, 2, w // 2, 2, o)
  upper, lower = jnp.unstack(y, axis=2)
  parts = []
  for row in (upper, upper + lower, lower):
    left, right = jnp.unstack(row, axis=3)
    parts += [left, left + right, right]
  return [part.reshape(-1, o) for part in parts]
