"""Masks: the pixels that a file marks, and masks among the images.

The reader of a built set marks every pixel that is not black
(`medad_jax.data.decode`). A mask file that means something else is stored as
a black and white PNG file instead of its own bytes.
"""

from collections.abc import Sequence
import io
from pathlib import Path, PurePath
import re

from jaxtyping import Bool, UInt8
import numpy as np
from PIL import Image, ImageFilter

from medad_jax.data import decode

_FEW = 16  # values below this are numbers of classes, not brightness
# Pixels on either side of an outline that may be neither black nor white.
_EDGE = 2

# Words of a name that say mask by themselves, and words that do so only
# beside the image of the same name.
_SURE = frozenset({"mask", "masks"})
_WORDS = _SURE | {"annotation", "gt", "groundtruth", "label", "seg"}
_WORDS |= {"segmentation"}
_FOLDERS = _WORDS | {"annotations", "labels", "segmentations"}


def marked(picture: Image.Image) -> Bool[np.ndarray, "h w"]:
  """Returns the pixels that a mask marks.

  Of two values, one of them black, the other one is marked. Otherwise, as
  after JPEG compression or smoothing, a pixel is marked from half the highest
  value, provided that values far from black and white occur at outlines only.

  Args:
    picture: a loaded image; of a color, the brightest channel counts, since
      the luminance of a dark color may round to black.

  Raises:
    ValueError: more than one reading is possible; the message says why.
  """
  values = _brightness(picture)
  levels = np.unique(values)
  top = int(levels[-1])
  if len(levels) == 1 or (len(levels) == 2 and levels[0] == 0):
    return values > 0
  if top < _FEW:
    raise ValueError(
      f"has the values {', '.join(map(str, levels))}: make what is abnormal"
      " white and the rest black"
    )
  wide = values.astype(np.uint16)
  bright, dim = 4 * wide >= 3 * top, 4 * wide >= top
  if (dim & ~_grown(bright)).any():
    raise ValueError(
      "has gray areas, neither black nor white: make what is abnormal white"
      " and the rest black"
    )
  return 2 * wide >= top


def encoded(data: bytes) -> bytes:
  """Returns a mask file's bytes, or a PNG file if readers would misread them.

  Raises:
    ValueError: as for `marked`.
  """
  with decode.open_image(data) as picture:
    picture.load()
    marks = marked(picture)
    if np.array_equal(decode.marks(picture), marks):
      return data
  buffer = io.BytesIO()
  Image.fromarray(np.where(marks, np.uint8(255), np.uint8(0))).save(
    buffer, "PNG"
  )
  return buffer.getvalue()


def among(images: Sequence[Path], root: Path) -> dict[Path, str]:
  """Files in place of images whose names say that they are masks.

  Args:
    images: the images of all splits.
    root: the source folder; names above it say nothing.

  Returns:
    The reason for each such file: a folder such as masks/, the word mask in
    its name, or a word such as seg where another image has the same name
    without the word or with another one in its place.
  """
  names = {
    path: path.relative_to(root) if path.is_relative_to(root) else path
    for path in images
  }
  beside = {_place(name, _split(name)) for name in names.values()}
  gaps = {
    gap
    for name in names.values()
    if not _WORDS.intersection(_split(name))
    for gap in _gaps(name)
  }
  return {
    path: "a mask among the images, to go by its name: move it out of there"
    for path, name in names.items()
    if _is_mask(name, beside, gaps)
  }


def _brightness(picture: Image.Image) -> UInt8[np.ndarray, "h w"]:
  if picture.has_transparency_data:
    alpha = picture.convert("RGBA").getchannel("A")
    if alpha.getextrema() != (255, 255):
      raise ValueError(
        "has transparent pixels: make what is abnormal white and the rest"
        " black, without transparency"
      )
  if picture.mode in ("1", "L", "LA"):
    return np.asarray(picture.convert("L"))
  return np.asarray(picture.convert("RGB")).max(-1)


def _grown(marks: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
  picture = Image.fromarray(marks.astype(np.uint8))
  wider = picture.filter(ImageFilter.MaxFilter(2 * _EDGE + 1))
  return np.asarray(wider) > 0


def _is_mask(name: PurePath, beside, gaps) -> bool:
  if any(part.lower() in _FOLDERS for part in name.parent.parts):
    return True
  words = _split(name)
  if _SURE.intersection(words):
    return True
  for i, word in enumerate(words):
    rest = (*words[:i], *words[i + 1 :])
    if word in _WORDS and (
      _place(name, rest) in beside or (i, _place(name, rest)) in gaps
    ):
      return True
    joined = re.fullmatch(r"(.+?)masks?", word)
    if joined and _place(name, (*rest[:i], joined[1], *rest[i:])) in beside:
      return True
  return False


def _gaps(name: PurePath):
  """The name with one word left out, for every word."""
  words = _split(name)
  for i in range(len(words)):
    yield i, _place(name, (*words[:i], *words[i + 1 :]))


def _place(name: PurePath, words: Sequence[str]) -> tuple[str, ...]:
  return (str(name.parent), *words)


def _split(name: PurePath) -> tuple[str, ...]:
  found = re.findall(r"[^\W_]+", name.stem.lower())
  return tuple(found)
