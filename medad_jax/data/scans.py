"""Image files of a hospital: found below a folder, read to gray or RGB.

PNG, JPEG, BMP and TIFF with 8 or 16 bits a channel, and DICOM. What has more
than 8 bits is stretched: from minimum to maximum, or over the window that a
DICOM file states.
"""

from collections.abc import Sequence
import dataclasses
import os
from pathlib import Path
from typing import Any

from jaxtyping import Float, UInt8
import numpy as np

from medad_jax.types import UserError

DICOM = (".dcm", ".dicom", ".dic", ".ima")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", *DICOM)
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")  # Pillow's modes
_GRAY = ("1", "L", "LA")
_MAGIC = b"DICM"  # at byte 128 of a DICOM file


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
  closed: list[OSError] = []
  found = []
  for root, inner, names in os.walk(folder, onerror=closed.append):
    inner[:] = sorted(name for name in inner if not name.startswith("."))
    paths = [Path(root) / name for name in names if not name.startswith(".")]
    found += [path for path in paths if _is_image(path)]
  if closed:
    shown = ", ".join(str(error.filename) for error in closed[:8])
    raise UserError(
      f"{len(closed)} folders in {folder} cannot be read ({shown}); make them"
      " readable, or take them out."
    )
  if not found:
    raise UserError(
      f"there are no images in {folder} or below it; give files ending in"
      f" {', '.join(SUFFIXES)}."
    )
  return sorted(found)


def read(path: Path) -> Scan:
  """The image in a file.

  Raises:
    Unreadable: there is none, or it is damaged.
  """
  try:
    if path.suffix.lower() in DICOM or _has_header(path):
      return _read_dicom(path)
    return _read_picture(path)
  except Unreadable:
    raise
  # One broken file, whatever is wrong with it, must not stop thousands.
  except Exception as error:
    reason = getattr(error, "strerror", None) or str(error)
    text = " ".join(f"{type(error).__name__}: {reason}".split())
    raise Unreadable(text[:200]) from error


def stretched(
  pixels: Float[np.ndarray, "h w"], low: float, high: float
) -> UInt8[np.ndarray, "h w"]:
  """Gray levels from 0 at `low` to 255 at `high`, the fraction cut off."""
  if not high > low:
    return np.zeros(pixels.shape, np.uint8)
  return (np.clip((pixels - low) / (high - low), 0, 1) * 255).astype(np.uint8)


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
  if path.name == "DICOMDIR" or not path.is_file():
    return False
  if path.suffix.lower() in SUFFIXES:
    return True
  return not path.suffix and _has_header(path)


def _has_header(path: Path) -> bool:
  try:
    with path.open("rb") as file:
      file.seek(128)
      return file.read(4) == _MAGIC
  except OSError:
    return False


def _read_picture(path: Path) -> Scan:
  from PIL import Image

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
      levels = stretched(pixels, pixels.min(), pixels.max())
      return Scan(Image.fromarray(levels), bits=16)
    if picture.mode in ("L", "RGB"):
      return Scan(picture.copy())
    return Scan(picture.convert("L" if picture.mode in _GRAY else "RGB"))


def _read_dicom(path: Path) -> Scan:
  try:
    import pydicom
    from pydicom import pixels as transforms
  except ImportError as error:
    raise Unreadable(
      "DICOM files need pydicom: pip install 'medad-jax[dicom]'"
    ) from error
  from PIL import Image

  data = pydicom.dcmread(path, force=not _has_header(path))
  if "PixelData" not in data:
    raise Unreadable("no image in it" if len(data) else "not a DICOM file")
  kind = str(data.get("PhotometricInterpretation"))
  if kind not in ("MONOCHROME1", "MONOCHROME2"):
    raise Unreadable(f"its pixels are {kind}, not gray values")
  if "TransferSyntaxUID" not in data.file_meta:
    # Without a header most writers meant DICOM's default.
    data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
  stored = data.pixel_array
  if stored.ndim != 2:
    raise Unreadable(f"{len(stored)} frames: not one image")
  values = transforms.apply_modality_lut(stored, data).astype(np.float64)
  low, high = _window(data, values)
  levels = stretched(values, low, high)
  if kind == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE":
    levels = 255 - levels
  return Scan(
    Image.fromarray(levels),
    str(data.get("PatientID") or ""),
    int(data.BitsStored),
  )


def _window(data, values) -> tuple[float, float]:
  """The ends of the first window that a file states, or of its values."""

  def first(name):
    found = data.get(name)
    if found is None or found == "":
      return None
    return float(found if isinstance(found, str | float | int) else found[0])

  center, width = first("WindowCenter"), first("WindowWidth")
  if center is None or width is None or width < 1:
    return values.min(), values.max()
  # PS3.3, C.11.2.1.2.1: the linear window.
  middle, half = center - 0.5, (width - 1) / 2
  return middle - half, middle + half
