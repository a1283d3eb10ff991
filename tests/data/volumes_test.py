"""Slices of volumes stand upright, whatever the order in which they lie."""

import gzip
import struct

import numpy as np
import pytest

from medad_jax.data import scans, volumes
from tests.data_builders import sources

# Right, front and top: every voxel says where it is.
BODY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def write(path, numbers, directions=None):
  """A volume whose axes run in the columns of `directions`."""
  sources.nifti_file(path, numbers)
  data = bytearray(path.read_bytes())
  if directions is not None:
    struct.pack_into("<h", data, 254, 1)
    rows = np.c_[directions, np.zeros(3)]
    struct.pack_into("<12f", data, 280, *rows.ravel())
    path.write_bytes(data)
  return path


def upright(axis, number):
  return np.take(BODY, number, axis).T[::-1]


@pytest.mark.parametrize("axis", ["sagittal", "coronal", "axial"])
def test_slices_are_those_of_the_body(axis, tmp_path):
  plain = write(tmp_path / "plain.nii", BODY)
  # The same body, its axes in another order and two of them reversed.
  turned = np.ascontiguousarray(BODY.transpose(2, 0, 1)[::-1, :, ::-1])
  directions = np.array([[0, 2, 0], [0, 0, -3], [-1, 0, 0]])
  other = write(tmp_path / "turned.nii", turned, directions)
  number = ("sagittal", "coronal", "axial").index(axis)
  assert volumes.count(plain, axis) == BODY.shape[number]
  assert volumes.count(other, axis) == BODY.shape[number]
  (found,) = volumes.slices(plain, axis, [2])
  (again,) = volumes.slices(other, axis, [2])
  np.testing.assert_array_equal(found, again)
  low, high = np.percentile(BODY, (0.5, 99.5))
  scaled = (upright(number, 2) - low) / (high - low) * 255
  np.testing.assert_allclose(found, np.clip(scaled, 0, 255), atol=1.01)


def test_a_quaternion_turns_the_axes(tmp_path):
  """Half a turn about the axis to the top, and then that axis reversed."""
  path = write(tmp_path / "x.nii", BODY[::-1, ::-1, ::-1].copy())
  data = bytearray(path.read_bytes())
  struct.pack_into("<f", data, 76, -1.0)
  struct.pack_into("<hh", data, 252, 1, 0)
  struct.pack_into("<fff", data, 256, 0.0, 0.0, 1.0)
  path.write_bytes(data)
  plain = write(tmp_path / "plain.nii", BODY)
  for axis in ("sagittal", "coronal", "axial"):
    (found,) = volumes.slices(path, axis, [1])
    (wanted,) = volumes.slices(plain, axis, [1])
    np.testing.assert_array_equal(found, wanted)


def test_a_place_names_every_slice(tmp_path):
  path = write(tmp_path / "x.nii", np.zeros((4, 5, 12), np.int16))
  places = scans.places([path], "axial")
  assert len(places) == 12
  assert places[3].name(tmp_path) == "x.nii#03"


def test_files_that_are_no_volume_give_a_reason(tmp_path):
  series = tmp_path / "series.nii.gz"
  sources.nifti_file(series, BODY)
  data = bytearray(gzip.decompress(series.read_bytes()))
  struct.pack_into("<8h", data, 40, 4, 4, 5, 3, 2, 1, 1, 1)
  series.write_bytes(gzip.compress(data))
  cut = write(tmp_path / "cut.nii", BODY)
  cut.write_bytes(cut.read_bytes()[:400])
  (tmp_path / "text.nii.gz").write_bytes(b"hello")
  for name, reason in (
    ("series.nii.gz", "it is a series of 2 volumes, not one"),
    ("cut.nii", "it is shorter than its header says"),
    ("text.nii.gz", "Not a gzipped file"),
  ):
    place, *_ = scans.places([tmp_path / name], "axial")
    (found,) = scans.read(place.path, [place.number], "axial")
    assert isinstance(found, scans.Unreadable) and reason in str(found)
