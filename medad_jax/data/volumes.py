"""Slices of volumes, as gray pictures that stand upright."""

from collections.abc import Sequence
import functools
import os
from pathlib import Path
from typing import Literal

from jaxtyping import UInt8
import numpy as np

from medad_jax.data import nifti

SUFFIXES = (".nii", ".nii.gz")
Axis = Literal["sagittal", "coronal", "axial"]

_AXES: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
# Of a volume's values, which become black and white: single voxels, such as a
# vessel's, are far brighter than any tissue.
_ENDS = (0.5, 99.5)
_SEEN = 1_000_000  # voxels that the percentiles are taken of


def is_volume(path: Path) -> bool:
  """True if a file's name says that it is a NIfTI volume."""
  return path.name.lower().endswith(SUFFIXES)


def count(path: Path, axis: Axis) -> int:
  """Slices of a volume, from its header.

  Raises:
    UserError: the file is no volume.
  """
  header = nifti.read_header(path)
  return header.shape[header.order[_AXES[axis]][0]]


def slices(
  path: Path, axis: Axis, numbers: Sequence[int]
) -> list[UInt8[np.ndarray, "h w"]]:
  """Some slices, the top or the front of the head at the top of a picture.

  The gray values of all slices of a volume have one scale.

  Args:
    path: of a NIfTI file.
    axis: that they are cut across, as the file's header states the body's.
    numbers: of the slices, from the left, the back or the bottom on.

  Raises:
    UserError: the file is no volume, or is damaged.
  """
  # The time, as a file may be replaced while a process lives.
  volume = _levels(path, os.stat(path).st_mtime_ns)
  return [np.take(volume, n, _AXES[axis]).T[::-1] for n in numbers]


# Slices of a volume are asked for in several parts, one after another.
@functools.lru_cache(maxsize=2)
def _levels(path: Path, changed: int) -> UInt8[np.ndarray, "x y z"]:
  del changed
  stored, header = nifti.read(path), nifti.read_header(path)
  turned = np.transpose(stored, [axis for axis, _ in header.order])
  back = tuple(k for k, (_, flipped) in enumerate(header.order) if flipped)
  values = np.flip(turned, back)
  flat = stored.ravel(order="K")
  low, high = np.percentile(flat[:: 1 + flat.size // _SEEN], _ENDS)
  if not high > low:  # nearly all voxels are air
    low, high = flat.min(), flat.max()
  scale = 255 / max(float(high) - float(low), 1e-12)
  levels = (values.astype(np.float32) - np.float32(low)) * np.float32(scale)
  return np.clip(np.nan_to_num(levels), 0, 255).astype(np.uint8)
