"""Axial slices of heads that were registered to MNI space, from volumes."""

from collections.abc import Iterable
from pathlib import Path

from jaxtyping import UInt8
import numpy as np

from medad_jax.data import nifti

ENDINGS = (".nii", ".nii.gz")

_SLICE = 95  # along the third axis, of voxels of 1 mm
_TOP = 98  # percentile of the volume that becomes white


def is_volume(path: Path) -> bool:
  """True if a file's name says that it is a NIfTI volume."""
  return path.name.lower().endswith(ENDINGS)


def axial_slice(path: Path) -> UInt8[np.ndarray, "h w"]:
  """Slice 95 of a volume, anterior at the top.

  Gray values are scaled so that the volume's 98th percentile becomes white.
  RA's own export is not published; its files fit this (they are 197 x 233
  pixels, of which 1 to 9 % are white).

  Raises:
    UserError: the file cannot be read.
  """
  volume = nifti.read(path).astype(np.float32)
  top = np.percentile(volume, _TOP)
  # A transposed and flipped slice: rows from front to back.
  picture = volume[:, :, _SLICE].T[::-1] / max(float(top), 1e-12)
  return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def problems(paths: Iterable[Path]) -> dict[Path, str]:
  """Reasons why volumes cannot be used, from their headers."""
  found = {}
  for path in paths:
    try:
      depth = nifti.read_header(path).shape[2]
    except nifti.Damaged as error:
      found[path] = error.reason
      continue
    if depth <= _SLICE:
      found[path] = (
        f"{depth} slices along its third axis, and slice {_SLICE} is read:"
        " register it to MNI space with 1 mm voxels"
      )
  return found
