"""CutPaste: a piece of an image, pasted on another place of the same image.

Li et al., CutPaste, CVPR 2021: `patch` moves a rectangle, `scar` a thin one
that is turned; the color of the piece is jittered on its way.

Lengths that were published in pixels are for a side of 224. Here they scale
with the side: a synthetic anomaly has the same share of an image of any size.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from medad_jax import rng, types
from medad_jax.augment.jitter import jitter

PUBLISHED_SIDE = 224

_SHARES = (0.02, 0.15)  # of the image's area, for a patch
_ASPECT = 0.3  # the smallest width over height, and 1 / the largest
# Heights and widths of scars at the published side.
_SHORTEST, _LONGEST = (10, 2), (25, 16)
_STEEPEST = math.radians(45)


def patch(
  key: PRNGKeyArray, image: Float[Array, "h w c"], strength: float = 0.1
) -> Float[Array, "h w c"]:
  """A rectangle of 2% to 15% of the image, pasted anywhere.

  The logarithm of its aspect is uniform between those of 0.3 and 1 / 0.3.

  Args:
    key: this image's key.
    image: square RGB of side 32 or more, whole numbers in 0 .. 255.
    strength: of the piece's color jitter; 0 is none.

  Returns:
    The image with the piece.

  Raises:
    UserError: the image is not square, not RGB, or too small.
  """
  side = checked_side(image)
  piece, size = cut(rng.stream(key, "cut"), image, strength)
  corner = _corner(rng.stream(key, "paste"), side - size)
  return put(image, piece, corner, size)


def scar(
  key: PRNGKeyArray, image: Float[Array, "h w c"], strength: float = 0.1
) -> Float[Array, "h w c"]:
  """A rectangle of 10..25 x 2..16 pixels at side 224, turned by up to 45°.

  The row is drawn so that the turned scar's width would fit below it, the
  column so that its height would fit: the code behind the published numbers
  swaps the two. So the border may cut a scar off.

  Args:
    key: this image's key.
    image: square RGB of side 32 or more, whole numbers in 0 .. 255.
    strength: of the piece's color jitter; 0 is none.

  Returns:
    The image with the scar.

  Raises:
    UserError: the image is not square, not RGB, or too small.
  """
  side = checked_side(image)
  scale = side / PUBLISHED_SIDE
  share = jax.random.uniform(rng.stream(key, "size"), (2,))
  shortest, longest = scale * jnp.asarray((_SHORTEST, _LONGEST), jnp.float32)
  lengths = shortest + share * (longest - shortest)
  size = _whole(lengths)
  corner = _corner(rng.stream(key, "from"), side - lengths)
  height, width = (math.ceil(scale * length) for length in _LONGEST)
  frame = (height, width)
  piece = _taken(image, corner, frame)
  piece = jitter(
    rng.stream(key, "jitter"), piece, strength, _within(frame, size)
  )
  angle = jax.random.uniform(
    rng.stream(key, "angle"), minval=-_STEEPEST, maxval=_STEEPEST
  )
  room = side - turned_size(size, angle)[::-1]
  corner = _corner(rng.stream(key, "paste"), room)
  return put_turned(image, piece, corner, size, angle)


def checked_side(image: Float[Array, "h w c"]) -> int:
  """The side of a square RGB image of at least 32 pixels.

  Raises:
    UserError: it is something else.
  """
  side = image.shape[0]
  if image.shape != (side, side, 3) or side < 32:
    raise types.UserError(
      f"Images of shape {image.shape} were given; CutPaste and AnatPaste take"
      " square RGB images of side 32 or more: set data.image_size to 32 or more"
      " and load 3 channels."
    )
  return side


def cut(
  key: PRNGKeyArray, image: Float[Array, "s s 3"], strength: float
) -> tuple[Float[Array, "p p 3"], Int[Array, "2"]]:
  """A random patch from a random place, jittered by itself.

  Returns:
    The patch in the top left of a frame that holds the longest, with anything
    around it; and its height and width.
  """
  side = image.shape[0]
  share = jax.random.uniform(
    rng.stream(key, "share"), minval=_SHARES[0], maxval=_SHARES[1]
  )
  aspect = jnp.exp(
    jax.random.uniform(
      rng.stream(key, "aspect"),
      minval=math.log(_ASPECT),
      maxval=-math.log(_ASPECT),
    )
  )
  area = share * side * side
  size = _whole(jnp.sqrt(jnp.stack([area / aspect, area * aspect])))
  corner = _corner(rng.stream(key, "from"), side - size)
  frame = (round(side * math.sqrt(_SHARES[1] / _ASPECT)),) * 2
  piece = _taken(image, corner, frame)
  inside = _within(frame, size)
  return jitter(rng.stream(key, "jitter"), piece, strength, inside), size


def put(
  image: Float[Array, "s s c"],
  piece: Float[Array, "p q c"],
  corner: Int[Array, "2"],
  size: Int[Array, "2"],
) -> Float[Array, "s s c"]:
  """The piece's first `size` rows and columns, with their top left at `corner`.

  What lies outside of the image is lost.
  """
  rows, columns = (jnp.arange(image.shape[0]) - at for at in corner)
  return _onto(image, piece, size, rows[:, None], columns[None, :])


def put_turned(
  image: Float[Array, "s s c"],
  piece: Float[Array, "p q c"],
  corner: Int[Array, "2"],
  size: Int[Array, "2"],
  angle: Float[Array, ""],
) -> Float[Array, "s s c"]:
  """Like `put`, turned counterclockwise by `angle` radians, nearest neighbor.

  `corner` is that of the upright rectangle of `turned_size` around it, as when
  Pillow turns an image and expands it.
  """
  center = corner + turned_size(size, angle) / 2
  y, x = (jnp.arange(image.shape[0]) + 0.5 - at for at in center)
  y, x = y[:, None], x[None, :]
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  rows = jnp.floor(cos * y + sin * x + size[0] / 2).astype(jnp.int32)
  columns = jnp.floor(cos * x - sin * y + size[1] / 2).astype(jnp.int32)
  return _onto(image, piece, size, rows, columns)


def turned_size(
  size: Int[Array, "2"], angle: Float[Array, ""]
) -> Int[Array, "2"]:
  """Height and width of all pixels that the turned rectangle touches."""
  cos, sin = jnp.abs(jnp.cos(angle)), jnp.abs(jnp.sin(angle))
  reach = cos * size + sin * size[::-1]
  ends = jnp.ceil((size + reach) / 2), jnp.floor((size - reach) / 2)
  return (ends[0] - ends[1]).astype(jnp.int32)


def _whole(lengths):
  return jnp.maximum(jnp.round(lengths), 1).astype(jnp.int32)


def _corner(key, room):
  """Row and column, uniform below `room`."""
  return jnp.floor(jax.random.uniform(key, (2,)) * room).astype(jnp.int32)


def _taken(image, corner, frame):
  """A frame of the image; what would lie outside repeats the border."""
  rows, columns = (
    jnp.minimum(at + jnp.arange(length), image.shape[0] - 1)
    for at, length in zip(corner, frame, strict=True)
  )
  return image[rows[:, None], columns[None, :]]


def _within(frame: tuple[int, int], size) -> Bool[Array, "p q"]:
  rows, columns = (jnp.arange(length) for length in frame)
  return (rows < size[0])[:, None] & (columns < size[1])[None, :]


def _onto(image, piece, size, rows, columns):
  """The pixels of `piece` at these rows and columns of its first `size`."""
  inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
  rows = jnp.clip(rows, 0, piece.shape[0] - 1)
  columns = jnp.clip(columns, 0, piece.shape[1] - 1)
  return jnp.where(inside[..., None], piece[rows, columns], image)
