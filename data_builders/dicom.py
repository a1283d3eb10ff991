"""One chest X-ray: from a DICOM file to the grey image of the benchmarks."""

from pathlib import Path

from jaxtyping import Float, Shaped, UInt8
import numpy as np
from PIL import Image

_MAGIC = b"DICM"  # at byte 128 of a Part-10 file


def convert(
  pixels: Shaped[np.ndarray, "h w"], photometric: str, size: int
) -> UInt8[np.ndarray, "s s"]:
  """Stored pixels to a square grey image, black for air.

  The rule of DDAD-ASR's preprocessing (spec of RSNA and VinBigData): invert
  MONOCHROME1, stretch anything but uint8 from minimum to maximum and truncate,
  then Pillow's bilinear filter; no window, no percentiles.

  Args:
    pixels: one grey frame of any integer or float type.
    photometric: the file's PhotometricInterpretation.
    size: height and width of the result, pixels.
  """
  if pixels.dtype != np.uint8:
    pixels = pixels.astype(np.float64)  # a difference of int16 may not fit
  if photometric == "MONOCHROME1":
    pixels = pixels.max() - pixels
  if pixels.dtype != np.uint8:
    pixels = _stretch(pixels)
  image = Image.fromarray(pixels).convert("L")
  return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def read(path: Path) -> tuple[np.ndarray, str]:
  """The stored pixels of a file and its PhotometricInterpretation.

  A file without the Part-10 header is read as implicit little endian, which
  is what such files are by default (PS3.5, section 10).
  """
  import pydicom

  with path.open("rb") as file:
    file.seek(128)
    bare = file.read(4) != _MAGIC
  data = pydicom.dcmread(path, force=bare)
  if bare and "TransferSyntaxUID" not in data.file_meta:
    data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
  if "PixelData" not in data:
    raise ValueError("no image in it" if len(data) else "not a DICOM file")
  pixels = data.pixel_array
  if pixels.ndim != 2:
    raise ValueError(f"{pixels.shape} pixels: not one grey image")
  return pixels, str(data.PhotometricInterpretation)


def convert_file(path: Path, target: Path, size: int) -> str | None:
  """Converts one file; returns why it could not be done, or None."""
  try:
    image = convert(*read(path), size)
  # One broken file, whatever is wrong with it, must not stop thousands.
  except Exception as error:
    return " ".join(f"{type(error).__name__}: {error}".split())
  temporary = target.with_suffix(".tmp")
  Image.fromarray(image).save(temporary, "PNG")
  temporary.replace(target)
  return None


def _stretch(
  pixels: Float[np.ndarray, "h w"],
) -> UInt8[np.ndarray, "h w"]:
  low, high = pixels.min(), pixels.max()
  if low == high:
    return np.zeros(pixels.shape, np.uint8)
  return ((pixels - low) / (high - low) * 255).astype(np.uint8)
