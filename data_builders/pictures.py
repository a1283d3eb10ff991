"""Image files that any reader of TFDS decodes to the right pixels.

TFDS takes a decoder's array as it is: palette numbers for colors, alpha for a
channel. Gray and RGB files are kept byte for byte, all others become PNG files.
"""

import functools
import io
from pathlib import Path

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from medad_jax.data import decode

_GRAY = ("1", "L", "LA")
_PLAIN = ("L", "RGB")


def is_color(path: Path) -> bool:
  """True if an image is in color; a file that cannot be opened is not."""
  try:
    if not path.is_file():  # nothing may ever come out of a named pipe
      return False
    with decode.open_image(path) as picture:
      return picture.mode not in _GRAY
  # Verification names the file, and the reason.
  except Exception:
    return False


def plain(data: bytes) -> bytes:
  """Returns a gray or RGB image file as it is; others as PNG without alpha."""
  with decode.open_image(data) as picture:
    if picture.mode in _PLAIN:
      return data
    return _png(picture.convert("L" if picture.mode in _GRAY else "RGB"))


def gray(mask: bytes) -> bytes:
  """Returns a mask file as a gray PNG file, 0 where nothing is marked."""
  with decode.open_image(mask) as picture:
    if picture.mode == "L" and picture.format == "PNG":
      return mask
    marks = decode.marks(picture)
  return _png(Image.fromarray(np.where(marks, np.uint8(255), np.uint8(0))))


def brighter_half(mask: bytes) -> bytes:
  """Returns a gray PNG file, 255 where a file has at least half of its top.

  Unlike the masks of abnormal pixels, marks of healthy ones may be anything
  between black and white.
  """
  with decode.open_image(mask) as picture:
    values = np.asarray(picture.convert("L")).astype(np.uint16)
  marks = (values > 0) & (2 * values >= values.max())
  return encoded(np.where(marks, np.uint8(255), np.uint8(0)))


def encoded(pixels: UInt8[np.ndarray, "h w *channels"]) -> bytes:
  """Returns a PNG file, gray without channels, and RGB with three."""
  return _png(Image.fromarray(pixels))


def black(image: bytes) -> bytes:
  """Returns a mask that marks nothing, of the size of an image file."""
  with decode.open_image(image) as picture:
    return _black(picture.size)


@functools.cache  # most sets have images of one size
def _black(size: tuple[int, int]) -> bytes:
  return _png(Image.new("L", size))


def _png(picture: Image.Image) -> bytes:
  buffer = io.BytesIO()
  picture.save(buffer, "PNG")
  return buffer.getvalue()
