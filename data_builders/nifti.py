"""Slices of NIfTI volumes of heads, for the builders that read some."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np

from medad_jax.types import UserError

ENDINGS = (".nii", ".nii.gz")

_SLICE = 95  # along the third axis, in MNI space with 1 mm voxels
_TOP = 98  # percentile of the volume that becomes white


def is_volume(path: Path) -> bool:
  """True if a file's name says that it is a NIfTI volume."""
  return path.name.lower().endswith(ENDINGS)


def axial_slice(path: Path) -> UInt8[np.ndarray, "h w"]:
  """Slice 95 of a volume, anterior at the top.

  Gray values are scaled so that the volume's 98th percentile becomes white.
  RA's own export is not published; its files fit this (they are 197 x 233
  pixels, of which 1 to 9 % are white).
  """
  volume = np.asarray(_open(path).dataobj, np.float32)
  top = np.percentile(volume, _TOP)
  # A transposed and flipped slice: rows from front to back.
  picture = volume[:, :, _SLICE].T[::-1] / max(float(top), 1e-12)
  return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def problems(paths: Iterable[Path]) -> dict[Path, str]:
  """Reasons why volumes cannot be used, from their headers."""
  found = {}
  for path in paths:
    if reason := _problem(path):
      found[path] = reason
  return found


def _problem(path: Path) -> str | None:
  try:
    shape = _open(path).shape
  except UserError:
    raise
  # nibabel raises nearly anything on a damaged header.
  except Exception as error:
    return f"not a NIfTI file ({' '.join(str(error).split())[:120]})"
  if len(shape) != 3:
    return f"{len(shape)} dimensions, not 3: take one volume out of it"
  if shape[2] <= _SLICE:
    return (
      f"{shape[2]} slices along its third axis, and slice {_SLICE} is read:"
      " register it to MNI space with 1 mm voxels"
    )
  return None


def _open(path: Path) -> Any:
  try:
    import nibabel
  except ImportError as error:
    raise UserError(
      f"{path.name} is a NIfTI file, and nibabel, which reads it, is not"
      " installed; run pip install 'medad-jax[mri]'."
    ) from error
  return nibabel.load(path)
