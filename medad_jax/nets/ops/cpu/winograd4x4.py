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


# Stride 2, zero padding 1; sides are multiples of 4.
CONVOLUTION = Form(_convolution, _convolution_backward, _convolution)
# To twice the sides, which are even.
TRANSPOSED = Form(_transposed, _transposed_backward, _transposed)


def _sides(kernel):
  """The kernel's sides of the nine products, each [4 i, o]."""
  i, o = kernel.shape[2:]
  taps = kernel.reshape(2, 2, 2, 2, i, o).transpose(0, 2, 1, 3, 4, 5)
  taps = taps.reshape(2, 2, 4 * i, o)

  def three(pair):
    first, second = jnp.unstack(pair)
    return first, first + second, second

  return [side for row in three(taps) for side in three(row)]


def _turned_sides(kernel):
  return _sides(kernel.swapaxes(2, 3))


def _tiles(x):
  """The pixels' sides of the nine products, each [tiles, 4 i]."""
  b, h, w, c = x.shape
  rows = jnp.unstack(x.reshape(b, h // 4, 4, w * c), axis=2)
  found = []
  for both in _differences(rows, 1):
    # Whole rows first: XLA's loops over long runs are the quick ones.
    split = [row.reshape(b, h // 4, w // 4, 4, c) for row in both]
    pair = [_differences(jnp.unstack(row, axis=3), 2) for row in split]
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

  def columns(three, row):
    pairs = [block[2 * row : 2 * row + 2] for block in three]
    pixels = _differences_back(pairs, 2)
    return jnp.stack(pixels, 3).reshape(b, h // 4, w, c)

  # Rows last, whole, as in `_tiles`.
  threes = [blocks[at : at + 3] for at in (0, 3, 6)]
  rows = [(columns(three, 0), columns(three, 1)) for three in threes]
  return jnp.stack(_differences_back(rows, 1), 2).reshape(shape)


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
  return [
    (_moved(d, axis, 1) - b, a - c),
    (b, c),
    (d - b, _moved(a, axis, -1) - c),
  ]


def _differences_back(
  blocks: Sequence[tuple[Array, Array]], axis: int
) -> list[Array]:
  """The adjoint of `_differences`: four pixels of three blocks of two."""
  first, middle, last = blocks
  return [
    first[1] + _moved(last[1], axis, 1),
    middle[0] - first[0] - last[0],
    middle[1] - first[1] - last[1],
    _moved(first[0], axis, -1) + last[0],
  ]


def _moved(x, axis, by):
  """x one further along the axis, or one back; zero comes in."""
  sizes = [(0, 0, 0)] * x.ndim
  sizes[axis] = (by, -by, 0)  # a negative size takes away
  return lax.pad(x, x.dtype.type(0), sizes)


def _outputs(made, shape):
  """Sums of the nine products: images of half the sides of that shape."""
  b, h, w, _ = shape
  m = [x.reshape(b, h // 4, w // 4, -1) for x in made]

  def output(p, q):
    at = 3 * p + q
    return m[at] + m[at + 1] + m[at + 3] + m[at + 4]

  rows = [jnp.stack([output(p, q) for q in (0, 1)], 3) for p in (0, 1)]
  return jnp.stack(rows, 2).reshape(b, h // 2, w // 2, -1)


def _spread(y):
  """The adjoint of `_outputs`: nine of [tiles, o]."""
  b, h, w, o = y.shape
  y = y.reshape(b, h // 2, 2, w // 2, 2, o)

  def three(pairs, axis):
    first, second = jnp.unstack(pairs, axis=axis)
    return first, first + second, second

  return [part.reshape(-1, o) for row in three(y, 2) for part in three(row, 3)]
