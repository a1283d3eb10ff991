"""The conversion of chest X-rays: its rule, odd headers, broken files."""

import sys

import numpy as np
from PIL import Image
import pytest

from data_builders import convert_dicom, dicom

pydicom = pytest.importorskip("pydicom")


def write(path, pixels, photometric="MONOCHROME2", part10=True, signed=False):
  data = pydicom.Dataset()
  data.Rows, data.Columns = pixels.shape
  data.SamplesPerPixel = 1
  data.PhotometricInterpretation = photometric
  data.BitsAllocated = 8 * pixels.itemsize
  data.BitsStored = data.BitsAllocated
  data.HighBit = data.BitsStored - 1
  data.PixelRepresentation = int(signed)
  data.PixelData = pixels.tobytes()
  data.SOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
  data.SOPInstanceUID = "1.2.3.4"
  path.parent.mkdir(parents=True, exist_ok=True)
  if part10:
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
  else:
    data.save_as(path, implicit_vr=True, little_endian=True)


def expected(pixels, size):
  return np.asarray(
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR)
  )


def opened(path):
  with Image.open(path) as image:
    return np.asarray(image)


def ramp(dtype, low, high, shape=(24, 32)):
  return np.linspace(low, high, np.prod(shape)).reshape(shape).astype(dtype)


def test_uint8_is_not_stretched():
  pixels = ramp(np.uint8, 40, 90)
  np.testing.assert_array_equal(
    dicom.convert(pixels, "MONOCHROME2", 16), expected(pixels, 16)
  )
  np.testing.assert_array_equal(
    dicom.convert(pixels, "MONOCHROME1", 16), expected(90 - pixels, 16)
  )


@pytest.mark.parametrize(
  ("dtype", "low", "high"), [(np.uint16, 100, 1123), (np.int16, -32768, 32767)]
)
def test_deeper_pixels_are_stretched_and_truncated(dtype, low, high):
  pixels = ramp(dtype, low, high)
  wide = pixels.astype(np.float64)
  for photometric, base in (
    ("MONOCHROME2", wide - low),
    ("MONOCHROME1", high - wide),
  ):
    stretched = (base / (high - low) * 255).astype(np.uint8)
    np.testing.assert_array_equal(
      dicom.convert(pixels, photometric, 16), expected(stretched, 16)
    )


def test_a_blank_image_is_black():
  assert not dicom.convert(
    np.full((8, 8), 7, np.uint16), "MONOCHROME2", 4
  ).any()


def convert(source, out, *flags):
  return convert_dicom.main([f"--source={source}", f"--out={out}", *flags])


def test_headers_of_all_kinds_and_broken_files(tmp_path, capsys):
  source, out = tmp_path / "in", tmp_path / "out"
  pixels = ramp(np.uint16, 5, 1000)
  write(source / "plain.dcm", pixels)
  write(source / "deep" / "inverted.DCM", pixels, "MONOCHROME1")
  write(source / "bare.dcm", pixels, part10=False)
  write(source / "cut.dcm", pixels)
  content = (source / "cut.dcm").read_bytes()
  (source / "cut.dcm").write_bytes(content[:-700])
  (source / "text.dcm").write_text("this is no DICOM file " * 20)
  assert convert(source, out, "--size=16") == 1
  error = capsys.readouterr().err
  assert "cut.dcm: " in error
  assert "text.dcm: " in error
  assert "2 files could not be converted" in error
  made = {path.name: opened(path) for path in out.iterdir()}
  assert sorted(made) == ["bare.png", "inverted.png", "plain.png"]
  np.testing.assert_array_equal(made["bare.png"], made["plain.png"])
  assert made["plain.png"].shape == (16, 16)
  total = made["plain.png"].astype(int) + made["inverted.png"]
  assert np.abs(total - 254.5).max() <= 1.5  # both were truncated


def test_all_well_is_status_0(tmp_path):
  write(tmp_path / "in" / "a.dcm", ramp(np.uint8, 0, 255))
  assert convert(tmp_path / "in", tmp_path / "out") == 0
  with Image.open(tmp_path / "out" / "a.png") as image:
    assert image.size == (512, 512)


def test_users_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch):
  out = tmp_path / "out"
  assert convert(tmp_path / "nowhere", out) == 2
  assert "not a folder" in capsys.readouterr().err
  (tmp_path / "in").mkdir()
  assert convert(tmp_path / "in", out) == 2
  assert "no .dcm files" in capsys.readouterr().err
  for folder in "ab":
    write(tmp_path / "in" / folder / "same.dcm", ramp(np.uint8, 0, 9))
  assert convert(tmp_path / "in", out) == 2
  assert "same image" in capsys.readouterr().err
  monkeypatch.setitem(sys.modules, "pydicom", None)
  monkeypatch.setattr(
    convert_dicom.importlib.util, "find_spec", lambda name: None
  )
  assert convert(tmp_path / "in", out) == 2
  assert "medad-jax[dicom]" in capsys.readouterr().err
  assert not out.exists()
