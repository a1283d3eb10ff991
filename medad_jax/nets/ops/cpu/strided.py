"""4x4 convolutions of stride 2, and transposed ones, as matrix products.

All forms agree to rounding; the choice depends on channels and sides. Kernels
are (4, 4, in, out); padding is 1, so that sides halve or double.
"""

from jax import lax
import jax.numpy as jnp

from medad_jax.nets.ops.cpu import products, winograd4x4
from medad_jax.nets.ops.cpu.form import Form

# From as many channels of the larger images on, Winograd's saving in products
# exceeds what its sums cost on a CPU.
_CHANNELS = 16


def convolution(x, kernel) -> Form | None:
  """The form for stride 2, zero padding 1; None where a side is odd."""
  _, h, w, i = x.shape
  o = kernel.shape[-1]
  if h % 2 or w % 2:
    return None
  if _by_winograd(x.dtype, i, h, w):
    return winograd4x4.CONVOLUTION
  # One product on patches, or on 2x2 pixels with four parts to add: what lies
  # between is 16 i or 4 o wide.
  return _PATCHES if 4 * i <= o else _SQUARES


def transposed(x, kernel) -> Form:
  """The form of the transposed convolution, to twice the sides."""
  _, h, w, i = x.shape
  o = kernel.shape[-1]
  if _by_winograd(x.dtype, o, 2 * h, 2 * w):
    return winograd4x4.TRANSPOSED
  # The last layer makes one channel of many: there the products are smaller
  # than the windows (an eighth of the step's time on a CPU).
  return _PIXELS if 4 * o < i else _WINDOWS


def _by_winograd(kind, channels, h, w):
  """Whether the larger images are wide enough and divide into tiles.

  Differences of pixels want the precision of float32.
  """
  whole = h % 4 == 0 and w % 4 == 0
  return whole and channels >= _CHANNELS and jnp.finfo(kind).bits >= 32


def _bordered(x):
  """Images with a border of one zero."""
  return lax.pad(x, x.dtype.type(0), _BORDER)


_BORDER = ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0))


def _patches(x):
  """The 4x4 pixels that each output sees, in the kernel's order."""
  b, h, w, c = x.shape
  y, z = h // 2, w // 2
  x = _bordered(x)
  # Four columns first, then four rows of these: XLA copies long runs faster.
  # The barrier keeps the two copies apart.
  pairs = x.reshape(b, h + 2, z + 1, 2 * c)
  columns = jnp.concatenate([pairs[:, :, :z], pairs[:, :, 1:]], axis=-1)
  rows = lax.optimization_barrier(columns).reshape(b, y + 1, 2, z, 4 * c)
  return jnp.concatenate(
    [rows[:, u : u + y, row] for u in (0, 1) for row in (0, 1)], axis=-1
  )


def _patch_sides(kernel):
  return kernel.reshape(-1, kernel.shape[-1])


def _kept(y, shape):
  del shape
  return y


_PATCHES = products.bilinear(_patches, _patch_sides, _kept)


def _squares(x):
  """Squares of 2x2 pixels, the border included."""
  b, h, w, c = x.shape
  y, z = h // 2, w // 2
  x = _bordered(x)
  # XLA copies rows beside each other faster than it transposes.
  rows = x.reshape(b, y + 1, 2, z + 1, 2 * c)
  x = jnp.stack([rows[:, :, 0], rows[:, :, 1]], axis=3)
  return x.reshape(b, y + 1, z + 1, 4 * c)


def _square_sides(kernel):
  """The kernel's four squares of 2x2 taps, beside each other."""
  c = kernel.shape[2]
  kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(1, 3, 4, 0, 2, 5)
  return kernel.reshape(4 * c, -1)


def _square_sums(parts, shape):
  """Sums of the products with four squares around each output."""
  y, z = shape[1] // 2, shape[2] // 2
  a, b, c, d = (
    part[:, u : u + y, v : v + z]
    for part, (u, v) in zip(jnp.split(parts, 4, -1), _CORNERS, strict=True)
  )
  return a + b + c + d


_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
_SQUARES = products.bilinear(_squares, _square_sides, _square_sums)


def _windows(x):
  """Windows of 2x2 pixels.

  Window (p, q) holds the pixels p-1 and p that reach the output rows 2p-1 and
  2p: the first through the kernel's rows 2 and 3, the second 0 and 1.
  """
  _, h, w, c = x.shape
  x = _bordered(x)
  return jnp.stack(
    [x[:, u : u + h + 1, v : v + w + 1] for u, v in _CORNERS], axis=-2
  ).reshape(-1, h + 1, w + 1, 4 * c)


def _window_sides(kernel):
  c = kernel.shape[2]
  kernel = kernel.reshape(2, 2, 2, 2, c, -1)[::-1, :, ::-1]
  return kernel.transpose(0, 2, 4, 1, 3, 5).reshape(4 * c, -1)


def _unfolded(y, shape):
  """Images of twice the sides, from 2x2 pixels in the channels."""
  _, h, w, _ = shape
  y = y.reshape(-1, h + 1, w + 1, 2, 2, y.shape[-1] // 4)
  y = y.transpose(0, 1, 3, 2, 4, 5)
  y = y.reshape(-1, 2 * h + 2, 2 * w + 2, y.shape[-1])
  return y[:, 1:-1, 1:-1]


_WINDOWS = products.bilinear(_windows, _window_sides, _unfolded)


def _pixels(x):
  return x


def _pixel_sides(kernel):
  """All that a pixel adds to, in four squares of 2x2."""
  c = kernel.shape[2]
  kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(4, 0, 2, 1, 3, 5)
  return kernel.reshape(c, -1)


def _pixel_sums(parts, shape):
  """Sums of the four squares, each moved to its place."""
  zero = parts.dtype.type(0)
  a, b, c, d = (
    lax.pad(part, zero, ((0, 0, 0), (u, 1 - u, 0), (v, 1 - v, 0), (0, 0, 0)))
    for part, (u, v) in zip(jnp.split(parts, 4, -1), _CORNERS, strict=True)
  )
  return _unfolded(a + b + c + d, shape)


_PIXELS = products.bilinear(_pixels, _pixel_sides, _pixel_sums)
