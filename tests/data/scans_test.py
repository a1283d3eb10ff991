"""Files of every kind become gray or RGB pictures, or one reason."""

import errno
import os
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from medad_jax.data import scans
from medad_jax.types import UserError

RAMP = np.linspace(0, 4000, 64).reshape(8, 8).astype(np.uint16)


def read(path):
  (found,) = scans.read(path, [None], "axial")
  if isinstance(found, scans.Unreadable):
    raise found
  return found


def pixels(path):
  return np.asarray(read(path).picture)


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bits_are_stretched(ending, tmp_path):
  path = tmp_path / f"x.{ending}"
  Image.fromarray(RAMP).save(path)
  wanted = np.floor(RAMP / 4000 * 255)
  np.testing.assert_array_equal(pixels(path), wanted)
  assert read(path).bits == 16
  Image.fromarray(np.full((8, 8), 700, np.uint16)).save(path)
  with pytest.raises(scans.Unreadable, match="equal: it shows nothing"):
    read(path)


def test_modes_become_gray_or_rgb(tmp_path):
  color = Image.fromarray(
    np.random.RandomState(0).randint(0, 256, (8, 8, 3), np.uint8)
  )
  for mode, wanted in (("L", "L"), ("RGB", "RGB"), ("RGBA", "RGB"), ("1", "L")):
    path = tmp_path / f"{mode}.png"
    color.convert(mode).save(path)
    assert read(path).picture.mode == wanted
  color.quantize(16).save(tmp_path / "p.png")
  assert read(tmp_path / "p.png").picture.mode == "RGB"


def test_files_without_one_image_give_a_reason(tmp_path):
  page = Image.new("L", (8, 8))
  page.save(tmp_path / "two.tiff", save_all=True, append_images=[page])
  with pytest.raises(scans.Unreadable, match="2 pages, not one image"):
    read(tmp_path / "two.tiff")
  (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
  with pytest.raises(scans.Unreadable, match="damaged, or no image of its"):
    read(tmp_path / "cut.png")
  with pytest.raises(scans.Unreadable, match="no such file"):
    read(tmp_path / "none.png")


def test_images_are_found_below_the_folder(tmp_path):
  (tmp_path / "b").mkdir()
  for name in ("b/x.PNG", "a.jpeg", ".hidden.png", "text.txt", "bare"):
    (tmp_path / name).write_bytes(b"")
  (tmp_path / "dicom").write_bytes(bytes(128) + b"DICM")
  found = [p.relative_to(tmp_path).as_posix() for p in scans.find(tmp_path)]
  assert found == ["a.jpeg", "b/x.PNG", "dicom"]


def write_dicom(path, values, **fields):
  pydicom = pytest.importorskip("pydicom")
  from pydicom.dataset import FileDataset, FileMetaDataset

  meta = FileMetaDataset()
  meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
  meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
  data = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
  data.Rows, data.Columns = values.shape[-2:]
  if values.ndim == 3:
    data.NumberOfFrames = len(values)
  data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
  data.BitsAllocated = data.BitsStored = 16
  data.HighBit = 15
  data.PixelRepresentation = int(values.dtype.kind == "i")
  data.PixelData = values.tobytes()
  for name, value in fields.items():
    setattr(data, name, value)
  data.save_as(path)
  return path


def test_dicom_is_rescaled_and_windowed(tmp_path):
  hounsfield = np.linspace(-1000, 1000, 64).reshape(8, 8).astype(np.int16)
  path = write_dicom(
    tmp_path / "x.dcm",
    hounsfield,
    RescaleSlope=1,
    RescaleIntercept=0,
    WindowCenter=40,
    WindowWidth=400,
    PatientID="P7",
  )
  found = pixels(path)
  assert read(path).patient == "P7"
  np.testing.assert_array_equal(found[hounsfield < 39.5 - 200], 0)
  np.testing.assert_array_equal(found[hounsfield > 39.5 + 200], 255)
  inside = np.abs(hounsfield - 39.5) < 190
  wanted = (hounsfield[inside] - (39.5 - 199.5)) / 399 * 255
  np.testing.assert_allclose(found[inside], wanted, atol=1)


def test_an_inverted_dicom_is_turned(tmp_path):
  path = write_dicom(
    tmp_path / "x", RAMP, PhotometricInterpretation="MONOCHROME1"
  )
  np.testing.assert_array_equal(pixels(path), 255 - np.floor(RAMP / 4000 * 255))


def test_dicom_files_without_one_image_give_a_reason(tmp_path):
  frames = np.stack([RAMP, RAMP, RAMP])
  path = write_dicom(tmp_path / "multi.dcm", frames)
  with pytest.raises(scans.Unreadable, match="3 frames, not one image"):
    read(path)
  whole = write_dicom(tmp_path / "cut.dcm", RAMP).read_bytes()
  (tmp_path / "cut.dcm").write_bytes(whole[:-70])
  with pytest.raises(scans.Unreadable):
    read(tmp_path / "cut.dcm")
  import pydicom

  data = pydicom.dcmread(path)
  del data.PixelData
  data.save_as(tmp_path / "empty.dcm")
  with pytest.raises(scans.Unreadable, match="it has no pixels"):
    read(tmp_path / "empty.dcm")


def test_links_to_nothing_are_told_and_pipes_are_left_alone(tmp_path):
  (tmp_path / "gone.png").symlink_to(tmp_path / "none.png")
  (tmp_path / "also gone").symlink_to(tmp_path / "none")
  os.mkfifo(tmp_path / "pipe.png")
  (tmp_path / "folder.png").mkdir()
  assert scans.find(tmp_path) == [tmp_path / "gone.png"]
  with pytest.raises(scans.Unreadable, match="there is no such file"):
    read(tmp_path / "gone.png")


@pytest.mark.parametrize("name", ["scandir", "stat"])
def test_a_folder_that_is_closed_is_named(name, tmp_path, monkeypatch):
  """It may neither be listed nor entered, or be listed alone."""
  closed = tmp_path / "closed"
  closed.mkdir()
  (tmp_path / "a.png").touch()
  (closed / "b.png").touch()
  real = getattr(os, name)

  def refusing(path=".", **options):
    if closed in (Path(path), Path(path).parent):
      raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return real(path, **options)

  with monkeypatch.context() as patched:
    patched.setattr(os, name, refusing)
    with pytest.raises(UserError, match=f"cannot be read: {closed}; make them"):
      scans.find(tmp_path)


def test_a_volume_that_is_cut_off_gives_a_reason(tmp_path):
  (tmp_path / "x.nii.gz").write_bytes(b"\x1f\x8b\x08\x00")
  with pytest.raises(scans.Unreadable, match="it is damaged: Compressed file"):
    read(tmp_path / "x.nii.gz")


def test_padding_is_black_and_takes_no_part(tmp_path):
  values = RAMP.copy()
  values[0] = 60000
  path = write_dicom(tmp_path / "x.dcm", values, PixelPaddingValue=60000)
  inside = RAMP[1:].astype(float)
  low, high = inside.min(), inside.max()
  wanted = np.floor((inside - low) / (high - low) * 255)
  np.testing.assert_array_equal(pixels(path)[0], 0)
  np.testing.assert_array_equal(pixels(path)[1:], wanted)


def test_a_color_dicom_stays_in_color(tmp_path):
  path = write_dicom(tmp_path / "x.dcm", RAMP)
  import pydicom

  color = np.random.RandomState(0).randint(0, 256, (8, 8, 3), np.uint8)
  data = pydicom.dcmread(path)
  data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
  data.BitsAllocated = data.BitsStored = 8
  data.HighBit, data.PlanarConfiguration = 7, 0
  data.PixelData = color.tobytes()
  data.save_as(path)
  np.testing.assert_array_equal(pixels(path), color)
