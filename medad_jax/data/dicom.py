"""A DICOM file's image as a picture, and what else it says of it."""

import logging
from pathlib import Path
from typing import Any
import warnings

import numpy as np

_MAGIC = b"DICM"  # at byte 128 of a DICOM file
_GRAY = ("MONOCHROME1", "MONOCHROME2")
_COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


class NoImage(Exception):
  """The reason why a file has no image, in a few words."""


def has_header(path: Path) -> bool:
  """True if a file begins as a DICOM file; one that cannot be read does not."""
  try:
    with path.open("rb") as file:
      file.seek(128)
      return file.read(4) == _MAGIC
  except OSError:
    return False


def read(path: Path) -> tuple[np.ndarray, str, int]:
  """Pixels [h w] or [h w 3], uint8; the patient; bits of a stored pixel.

  Gray values are rescaled, and the window that the file states is stretched to
  all gray levels; without one, from the minimum to the maximum. Padding is
  black.

  Raises:
    NoImage: there is none.
    Exception: whatever pydicom and the decoders raise at damaged files.
  """
  data = _opened(path)
  kind = str(data.get("PhotometricInterpretation"))
  if kind not in _GRAY + _COLOR:
    raise NoImage(f"its pixels are {kind}, not gray or RGB")
  frames = int(data.get("NumberOfFrames") or 1)
  if frames > 1:
    raise NoImage(f"it has {frames} frames, not one image: store each alone")
  patient, bits = str(data.get("PatientID") or ""), int(data.BitsStored)
  if kind in _COLOR:
    return _color(data), patient, bits
  return _gray(data, kind), patient, bits


def quiet() -> None:
  """Stops pydicom's remarks on values that DICOM does not allow.

  Hospitals' files have thousands of them, and the images are read all the same.
  """
  logging.getLogger("pydicom").setLevel(logging.ERROR)
  warnings.filterwarnings("ignore", module="pydicom")


def _opened(path: Path) -> Any:
  try:
    import pydicom
  except ImportError as error:
    raise NoImage(
      "DICOM files need pydicom: pip install 'medad-jax[dicom]'"
    ) from error
  quiet()
  whole = has_header(path)
  data = pydicom.dcmread(path, force=not whole)
  if "PixelData" not in data:
    if len(data):
      raise NoImage("it has no pixels")
    raise NoImage("it is cut off" if whole else "not a DICOM file")
  if "TransferSyntaxUID" not in data.file_meta:
    # Without a header most writers meant DICOM's default.
    data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
  return data


def _color(data) -> np.ndarray:
  from pydicom import pixels

  found = pixels.pixel_array(data)  # RGB, whatever it is stored as
  if found.dtype != np.uint8:
    raise NoImage(f"its colors have {data.BitsStored} bits, not 8")
  return found


def _gray(data, kind: str) -> np.ndarray:
  from pydicom import pixels

  stored = data.pixel_array
  seen = ~_padding(data, stored)
  if not seen.any():
    raise NoImage("all of its pixels are padding")
  values = pixels.apply_modality_lut(stored, data)
  if data.get("VOILUTSequence"):
    values = pixels.apply_voi(values, data)
  values = np.asarray(values, np.float64)
  low, high = _window(data) or (values[seen].min(), values[seen].max())
  levels = stretched(values, low, high)
  if kind == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE":
    levels = 255 - levels
  return np.where(seen, levels, np.uint8(0))


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
  """Gray levels from 0 at `low` to 255 at `high`, the fraction cut off."""
  if not high > low:
    return np.zeros(values.shape, np.uint8)
  return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _padding(data, stored) -> np.ndarray:
  """Pixels between PixelPaddingValue and PixelPaddingRangeLimit."""
  if data.get("PixelPaddingValue") is None:
    return np.zeros(stored.shape, bool)
  ends = [data.PixelPaddingValue, data.get("PixelPaddingRangeLimit")]
  # Some writers give a signed value as an unsigned one, or the reverse.
  known = [np.int64(v).astype(stored.dtype) for v in ends if v is not None]
  return (stored >= min(known)) & (stored <= max(known))


def _window(data) -> tuple[float, float] | None:
  """The ends of the first window that a file states; None without one."""

  def first(name):
    found = data.get(name)
    if found is None or found == "":
      return None
    return float(found if isinstance(found, str | float | int) else found[0])

  center, width = first("WindowCenter"), first("WindowWidth")
  # A table of its own takes the window's place.
  if data.get("VOILUTSequence") or center is None or width is None:
    return None
  if data.get("VOILUTFunction", "LINEAR") != "LINEAR":
    return (center - width / 2, center + width / 2) if width > 0 else None
  # PS3.3, C.11.2.1.2.1: the linear window.
  middle, half = center - 0.5, (width - 1) / 2
  return (middle - half, middle + half) if width > 1 else None
