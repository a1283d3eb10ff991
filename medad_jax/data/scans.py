"""Image files of a hospital: found below a folder, read to gray or RGB.

PNG, JPEG, BMP and TIFF with 8 or 16 bits a channel, DICOM, and the slices of
NIfTI volumes. What has more than 8 bits is stretched: from minimum to maximum,
over the window that a DICOM file states, or over a whole volume.
"""

from collections.abc import Sequence
import dataclasses
import os
from pathlib import Path
import textwrap
from typing import Any

import numpy as np

from medad_jax.data import dicom, nifti, volumes
from medad_jax.types import UserError

DICOM = (".dcm", ".dicom", ".dic", ".ima")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SUFFIXES = (*_PICTURES, *DICOM, *volumes.SUFFIXES)
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's modes
_GRAY = ("1", "L", "LA")
EMPTY = "all of its pixels are equal: it shows nothing"


@dataclasses.dataclass(frozen=True)
class Place:
  """The place of one image.

  Attributes:
    path: its file.
    number: of the slice of a volume; None for a file that is one image.
    count: slices of the volume.
  """

  path: Path
  number: int | None = None
  count: int = 1

  def name(self, folder: Path) -> str:
    """The path below a folder, of a slice with its number behind "#"."""
    name = os.path.relpath(self.path, folder)
    if self.number is not None:
      name += f"#{self.number:0{len(str(self.count - 1))}d}"
    # A name that is no text, from a file system, is written with escapes.
    return name.encode("utf-8", "backslashreplace").decode()


@dataclasses.dataclass(frozen=True)
class Scan:
  """One image.

  Attributes:
    picture: of mode "L" or "RGB".
    patient: as the file states it; "" where it does not.
    bits: that a channel of the file has.
  """

  picture: Any  # PIL.Image.Image
  patient: str = ""
  bits: int = 8


class Unreadable(Exception):
  """The reason why a file has no image, in a few words."""


def find(folder: Path) -> list[Path]:
  """All image files below a folder, in the order of their paths.

  Files without an ending are taken where they begin as DICOM files do. Hidden
  files and folders are skipped.

  Raises:
    UserError: there are none, or the folder cannot be read.
  """
  if not folder.is_dir():
    raise UserError(f"{folder} is not a folder; give one that holds images.")
  closed: list[str] = []

  def close(error: OSError) -> None:
    closed.append(str(error.filename))

  found = []
  for root, inner, names in os.walk(folder, onerror=close):
    inner[:] = sorted(name for name in inner if not name.startswith("."))
    paths = [Path(root) / name for name in names if not name.startswith(".")]
    try:
      found += [path for path in paths if _is_image(path)]
    except PermissionError:  # a folder that may be listed, and not entered
      closed.append(root)
  if closed:
    more = f" and {len(closed) - 8} more" if len(closed) > 8 else ""
    raise UserError(
      f"there are folders in {folder} that cannot be read:"
      f" {', '.join(closed[:8])}{more}; make them readable, or take them out."
    )
  if not found:
    raise UserError(
      f"there are no images in {folder} or below it; give files ending in"
      f" {', '.join(SUFFIXES)}."
    )
  return sorted(found)


def places(paths: Sequence[Path], axis: volumes.Axis) -> list[Place]:
  """The place of every image: a volume has as many as slices.

  A file that only looks like a volume has one place, which `read` refuses.
  """
  found = []
  for path in paths:
    if not volumes.is_volume(path):
      found.append(Place(path))
      continue
    try:
      count = volumes.count(path, axis)
    except UserError:
      found.append(Place(path))
      continue
    found += [Place(path, number, count) for number in range(count)]
  return found


def read(
  path: Path, numbers: Sequence[int | None], axis: volumes.Axis
) -> "list[Scan | Unreadable]":
  """The images at some places of one file, or the reason why there is none.

  Args:
    path: of the file.
    numbers: of the slices of a volume, or one None.
    axis: of a volume.
  """
  try:
    if volumes.is_volume(path):
      # A place without a number is of no volume: this says why.
      slices = volumes.slices(path, axis, [n or 0 for n in numbers])
      return [_checked(_scan_of(levels)) for levels in slices]
    if is_dicom(path):
      return [_checked(_scan_of(*dicom.read(path)))]
    return [_checked(_read_picture(path))]
  # One broken file, whatever is wrong with it, must not stop thousands.
  except Exception as error:
    return [Unreadable(_reason(error))] * len(numbers)


def is_dicom(path: Path) -> bool:
  """True if a file's name or its beginning says that it is DICOM."""
  return path.suffix.lower() in DICOM or dicom.has_header(path)


def shard(paths: Sequence[Path], text: str | None) -> list[Path]:
  """The part of paths that "3/16" names, one in 16 from the third on.

  Raises:
    UserError: the text is none.
  """
  if text is None:
    return list(paths)
  number, _, count = text.partition("/")
  if not (number.isdecimal() and count.isdecimal()) or not (
    1 <= int(number) <= int(count)
  ):
    raise UserError(
      f"--shard={text} names no part; give one such as 3/16, the third of 16."
    )
  return list(paths)[int(number) - 1 :: int(count)]


def _is_image(path: Path) -> bool:
  if path.name == "DICOMDIR":
    return False
  # A pipe would be read forever; a link to nothing is told with broken files.
  if not path.is_file() and path.exists():
    return False
  if path.name.lower().endswith(SUFFIXES):
    return True
  return not path.suffix and dicom.has_header(path)


def _scan_of(levels: np.ndarray, patient: str = "", bits: int = 16) -> Scan:
  from PIL import Image

  return Scan(Image.fromarray(np.ascontiguousarray(levels)), patient, bits)


def _checked(scan: Scan) -> "Scan | Unreadable":
  """The scan, unless it shows nothing."""
  extrema = scan.picture.getextrema()
  bands = [extrema] if scan.picture.mode == "L" else extrema
  if all(low == high for low, high in bands):
    return Unreadable(EMPTY)
  return scan


def _reason(error: Exception) -> str:
  """The reason in a few words, on one line."""
  if isinstance(error, nifti.Damaged):
    text = error.reason
  elif isinstance(error, dicom.NoImage | Unreadable):
    text = str(error)
  elif isinstance(error, FileNotFoundError):
    text = "there is no such file"
  elif isinstance(error, PermissionError):
    text = "it may not be read: its permissions do not allow it"
  elif type(error).__name__ == "UnidentifiedImageError":
    text = "it is damaged, or no image of its ending's kind"
  else:
    said = getattr(error, "strerror", None) or str(error)
    text = f"it is damaged ({type(error).__name__}: {said})"
  return textwrap.shorten(text, 200, placeholder=" ...")


def _read_picture(path: Path) -> Scan:
  from medad_jax.data import decode

  with decode.open_image(path) as picture:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
      raise Unreadable(f"it has {frames} pages, not one image")
    picture.load()
    if picture.mode in _DEEP:
      pixels = np.asarray(picture, np.float64)
      if not np.isfinite(pixels).all():
        raise Unreadable("some of its values are not finite")
      return _scan_of(dicom.stretched(pixels, pixels.min(), pixels.max()))
    if picture.mode in ("L", "RGB"):
      return Scan(picture.copy())
    return Scan(picture.convert("L" if picture.mode in _GRAY else "RGB"))
