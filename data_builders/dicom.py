"""One chest X-ray: from a DICOM file to the gray image of the benchmarks."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float, Shaped, UInt8
import numpy as np
from PIL import Image

from medad_jax import files

_MAGIC = b"DICM"  # at byte 128 of a Part-10 file
_FEW = 32  # levels; an X-ray of fewer was stretched from a few odd pixels


@dataclasses.dataclass(frozen=True)
class Stored:
  """The content of a file.

  Attributes:
    pixels: one gray frame of any integer or float type.
    inverted: whether low values are bright.
    padding: pixels that are no image, such as those around a round detector;
      None where the file marks none.
  """

  pixels: Shaped[np.ndarray, "h w"]
  inverted: bool = False
  padding: Bool[np.ndarray, "h w"] | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The outcome for a file: why it has no image, or what is odd about it."""

  problem: str | None = None
  warning: str | None = None


def convert(stored: Stored, size: int) -> UInt8[np.ndarray, "s s"]:
  """Stored pixels to a square gray image, black for air.

  The rule of DDAD-ASR's preprocessing (spec of RSNA and VinBigData): invert
  what is stored inverted, stretch anything but uint8 from minimum to maximum
  and truncate, then Pillow's bilinear filter; no window, no percentiles.
  Padding takes no part in this and becomes black.

  Args:
    stored: what a file holds.
    size: height and width of the result, pixels.
  """
  image = Image.fromarray(_gray(stored))
  return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def read(path: Path) -> Stored:
  """Reads a file's pixels and how they are meant.

  A file without the Part-10 header has the encoding of its first elements.

  Raises:
    ValueError: it is no gray image.
  """
  import pydicom

  bare = not has_header(path)
  data = pydicom.dcmread(path, force=bare)
  if "PixelData" not in data:
    raise ValueError("no image in it" if len(data) else "not a DICOM file")
  kind = str(data.get("PhotometricInterpretation"))
  if kind not in ("MONOCHROME1", "MONOCHROME2"):
    raise ValueError(f"its pixels are {kind}, not gray values")
  if bare and "TransferSyntaxUID" not in data.file_meta:
    data.file_meta.TransferSyntaxUID = _guessed_syntax(data)
  pixels = data.pixel_array
  if pixels.ndim != 2:
    raise ValueError(f"{pixels.shape} pixels: not one gray image")
  return Stored(pixels, _is_inverted(data), _padding(data, pixels))


def has_header(path: Path) -> bool:
  """True if a file begins as a Part-10 file."""
  with path.open("rb") as file:
    file.seek(128)
    return file.read(4) == _MAGIC


def convert_file(path: Path, target: Path, size: int) -> Outcome:
  """Converts one file.

  Raises:
    UserError: the target cannot be written.
  """
  try:
    stored = read(path)
    levels = len(np.unique(_gray(stored)))
    image = convert(stored, size)
  # One broken file, whatever is wrong with it, must not stop thousands.
  except Exception as error:
    return Outcome(" ".join(f"{type(error).__name__}: {error}".split()))
  with files.replacing(target) as file:
    Image.fromarray(image).save(file, "PNG")
  if levels < _FEW:
    return Outcome(warning=f"has {levels} gray levels")
  return Outcome()


def _gray(stored: Stored) -> UInt8[np.ndarray, "h w"]:
  pixels = stored.pixels
  seen = np.ones(pixels.shape, bool)
  if stored.padding is not None:
    seen = ~stored.padding
    if not seen.any():
      raise ValueError("all of its pixels are padding")
  if pixels.dtype != np.uint8:
    pixels = pixels.astype(np.float64)  # a difference of int16 may not fit
  if stored.inverted:
    pixels = pixels[seen].max() - pixels
  if pixels.dtype != np.uint8:
    pixels = _stretch(pixels, seen)
  return np.where(seen, pixels, np.uint8(0))


def _stretch(
  pixels: Float[np.ndarray, "h w"], seen: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w"]:
  low, high = pixels[seen].min(), pixels[seen].max()
  if low == high:
    return np.zeros(pixels.shape, np.uint8)
  inside = np.where(seen, pixels, low)
  return ((inside - low) / (high - low) * 255).astype(np.uint8)


def _guessed_syntax(data) -> str:
  """The encoding that pydicom found in a file without a header."""
  import pydicom

  known = {
    (True, True): pydicom.uid.ImplicitVRLittleEndian,
    (False, True): pydicom.uid.ExplicitVRLittleEndian,
    (False, False): pydicom.uid.ExplicitVRBigEndian,
  }
  if data.original_encoding not in known:
    raise ValueError("it has no header, and an encoding that DICOM lacks")
  return known[data.original_encoding]


def _is_inverted(data) -> bool:
  """True if low stored values are meant to be bright.

  MONOCHROME1 says so, and the shape INVERSE of the presentation's table; X-rays
  that say one say both (PS3.3, C.8.11.3), so together they count once. Each
  falling step on the way to the display turns it round.
  """
  shape = str(data.get("PresentationLUTShape", ""))
  inverted = data.PhotometricInterpretation == "MONOCHROME1"
  inverted |= shape == "INVERSE"
  inverted ^= float(data.get("RescaleSlope") or 1) < 0
  for name in ("ModalityLUTSequence", "VOILUTSequence"):
    inverted ^= _is_falling(data.get(name))
  return bool(inverted)


def _is_falling(tables: Any) -> bool:
  """True if the first of some tables gives low values for high ones."""
  if not tables:
    return False
  values = tables[0].get("LUTData")
  if isinstance(values, bytes):
    values = np.frombuffer(values, "<u2")
  return values is not None and len(values) > 1 and values[0] > values[-1]


def _padding(data, pixels) -> np.ndarray | None:
  """The pixels between PixelPaddingValue and PixelPaddingRangeLimit."""
  if data.get("PixelPaddingValue") is None:
    return None
  ends = [data.PixelPaddingValue, data.get("PixelPaddingRangeLimit")]
  # Some writers give a signed value as an unsigned one, or the reverse.
  ends = [np.int64(v).astype(pixels.dtype) for v in ends if v is not None]
  padding = (pixels >= min(ends)) & (pixels <= max(ends))
  return padding if padding.any() else None
