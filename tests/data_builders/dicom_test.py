"""The conversion of chest X-rays: its rule, odd headers, broken files."""

import sys

import numpy as np
from PIL import Image
import pytest

from data_builders import convert_dicom, dicom

pydicom = pytest.importorskip("pydicom")


def write(
  path,
  pixels,
  photometric="MONOCHROME2",
  header=True,
  syntax="ExplicitVRLittleEndian",
  **elements,
):
  """A DICOM file; `elements` by keyword, as pydicom names them."""
  data = pydicom.Dataset()
  data.Rows, data.Columns = pixels.shape
  data.SamplesPerPixel = 1
  data.PhotometricInterpretation = photometric
  data.BitsAllocated = 8 * pixels.itemsize
  data.BitsStored = data.BitsAllocated
  data.HighBit = data.BitsStored - 1
  data.PixelRepresentation = int(pixels.dtype.kind == "i")
  big = syntax == "ExplicitVRBigEndian"
  order = ">" if big else "<"
  data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
  data["PixelData"].VR = "OW"
  data.SOPClassUID = pydicom.uid.ComputedRadiographyImageStorage
  data.SOPInstanceUID = "1.2.3.4"
  for name, value in elements.items():
    setattr(data, name, value)
  path.parent.mkdir(parents=True, exist_ok=True)
  if header:
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    data.save_as(path, enforce_file_format=True)
  else:
    implicit = syntax == "ImplicitVRLittleEndian"
    data.save_as(path, implicit_vr=implicit, little_endian=not big)


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
    dicom.convert(dicom.Stored(pixels), 16), expected(pixels, 16)
  )
  np.testing.assert_array_equal(
    dicom.convert(dicom.Stored(pixels, inverted=True), 16),
    expected(90 - pixels, 16),
  )


@pytest.mark.parametrize(
  ("dtype", "low", "high"), [(np.uint16, 100, 1123), (np.int16, -32768, 32767)]
)
def test_deeper_pixels_are_stretched_and_truncated(dtype, low, high):
  pixels = ramp(dtype, low, high)
  wide = pixels.astype(np.float64)
  for inverted, base in ((False, wide - low), (True, high - wide)):
    stretched = (base / (high - low) * 255).astype(np.uint8)
    np.testing.assert_array_equal(
      dicom.convert(dicom.Stored(pixels, inverted), 16), expected(stretched, 16)
    )


def test_a_blank_image_is_black():
  blank = dicom.Stored(np.full((8, 8), 7, np.uint16))
  assert not dicom.convert(blank, 4).any()


def table(*values):
  item = pydicom.Dataset()
  item.LUTDescriptor = [len(values), 0, 16]
  item.LUTData = list(values)
  item["LUTData"].VR = "US"
  return [item]


# (photometric, elements) -> whether low stored values are bright.
LOOKS = [
  ("MONOCHROME2", {}, False),
  ("MONOCHROME1", {}, True),
  ("MONOCHROME2", {"RescaleSlope": 1, "RescaleIntercept": 0}, False),
  ("MONOCHROME2", {"RescaleSlope": -1, "RescaleIntercept": 4095}, True),
  ("MONOCHROME1", {"RescaleSlope": -1, "RescaleIntercept": 4095}, False),
  ("MONOCHROME2", {"PresentationLUTShape": "IDENTITY"}, False),
  ("MONOCHROME2", {"PresentationLUTShape": "INVERSE"}, True),
  ("MONOCHROME1", {"PresentationLUTShape": "INVERSE"}, True),
  ("MONOCHROME2", {"VOILUTSequence": (0, 100, 200)}, False),
  ("MONOCHROME2", {"VOILUTSequence": (200, 100, 0)}, True),
  ("MONOCHROME2", {"ModalityLUTSequence": (200, 100, 0)}, True),
]


@pytest.mark.parametrize(("photometric", "elements", "inverted"), LOOKS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_stored_inverted_is_turned(
  photometric, elements, inverted, dtype, tmp_path
):
  pixels = ramp(dtype, 0, 255)
  elements = {
    k: table(*v) if isinstance(v, tuple) else v for k, v in elements.items()
  }
  write(tmp_path / "a.dcm", pixels, photometric, **elements)
  found = dicom.convert(dicom.read(tmp_path / "a.dcm"), 16)
  assert (found[0, 0] > found[-1, -1]) == inverted


@pytest.mark.parametrize(
  "photometric", ["PALETTE COLOR", "ARGB", "MONOCHROME3"]
)
def test_only_gray_values_pass(photometric, tmp_path, capsys):
  write(tmp_path / "in/a.dcm", ramp(np.uint8, 0, 255), photometric)
  assert convert(tmp_path / "in", tmp_path / "out") == 1
  assert f"{photometric}, not gray" in capsys.readouterr().err
  assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
  ("dtype", "value", "limit"),
  [
    (np.int16, -2000, None),
    (np.uint16, 65535, None),
    (np.uint16, 60000, 65535),
    (np.uint8, 255, None),
  ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_takes_no_part_and_is_black(
  dtype, value, limit, photometric, tmp_path
):
  pixels = ramp(dtype, 10, 250, (32, 32))
  elements = {"PixelPaddingValue": value}
  padded = pixels.copy()
  padded[:, :8] = value
  if limit is not None:
    padded[:, :4] = limit
    elements["PixelPaddingRangeLimit"] = limit
  write(tmp_path / "a.dcm", padded, photometric, **elements)
  found = dicom.convert(dicom.read(tmp_path / "a.dcm"), 32)
  inside = pixels[:, 8:].astype(float)
  if photometric == "MONOCHROME1":
    inside = inside.max() - inside
  if dtype != np.uint8:
    inside = (inside - inside.min()) / np.ptp(inside) * 255
  np.testing.assert_array_equal(found[:, 8:], inside.astype(np.uint8))
  assert not found[:, :8].any()


def test_nothing_but_padding_is_no_image(tmp_path, capsys):
  pixels = np.full((8, 8), 7, np.uint16)
  write(tmp_path / "in/a.dcm", pixels, PixelPaddingValue=7)
  assert convert(tmp_path / "in", tmp_path / "out") == 1
  assert "padding" in capsys.readouterr().err


def test_images_of_few_levels_are_named(tmp_path, capsys):
  pixels = ramp(np.uint16, 0, 2000)
  write(tmp_path / "in/sound.dcm", pixels)
  pixels[3, 3] = 50_000  # one hot pixel
  write(tmp_path / "in/hot.dcm", pixels)
  assert convert(tmp_path / "in", tmp_path / "out") == 0
  error = capsys.readouterr().err
  assert "hot.dcm: has 12 gray levels" in error
  assert "sound" not in error


@pytest.mark.parametrize(
  "syntax",
  ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian"],
)
@pytest.mark.parametrize("header", [True, False])
def test_every_encoding_gives_the_same_pixels(syntax, header, tmp_path):
  pixels = ramp(np.uint16, 5, 60_000)
  write(tmp_path / "a.dcm", pixels, header=header, syntax=syntax)
  np.testing.assert_array_equal(dicom.read(tmp_path / "a.dcm").pixels, pixels)


def test_files_without_an_ending_are_taken_and_others_counted(tmp_path, capsys):
  source, pixels = tmp_path / "in", ramp(np.uint8, 0, 255)
  write(source / "1.2.840.5", pixels)
  write(source / "b.dicom", pixels)
  write(source / "sub/c.IMA", pixels)
  for name in ("notes.txt", "more.txt", "DICOMDIR", ".hidden"):
    (source / name).write_text("none")
  assert convert(source, tmp_path / "out", "--size=8") == 0
  assert "3 files are left out" in capsys.readouterr().err
  names = sorted(path.name for path in (tmp_path / "out").iterdir())
  assert names == ["1.2.840.5.png", "b.png", "c.png"]


def test_links_to_folders_are_named(tmp_path, capsys):
  write(tmp_path / "in/a.dcm", ramp(np.uint8, 0, 255))
  (tmp_path / "in/again").symlink_to(tmp_path / "in")
  assert convert(tmp_path / "in", tmp_path / "out") == 2
  assert "again" in capsys.readouterr().err


def test_an_out_that_is_a_file(tmp_path, capsys):
  write(tmp_path / "in/a.dcm", ramp(np.uint8, 0, 255))
  (tmp_path / "out").write_text("")
  for out in ("out", "out/below"):
    assert convert(tmp_path / "in", tmp_path / out) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, -5, 10**9])
def test_an_impossible_size(size, tmp_path, capsys):
  write(tmp_path / "in/a.dcm", ramp(np.uint8, 0, 255))
  assert convert(tmp_path / "in", tmp_path / "out", f"--size={size}") == 2
  assert f"--size={size}" in capsys.readouterr().err


def test_a_full_disk_is_one_sentence(tmp_path, capsys, monkeypatch):
  def full(*_, **__):
    raise OSError(28, "No space left on device")

  write(tmp_path / "in/a.dcm", ramp(np.uint8, 0, 255))
  monkeypatch.setattr(Image.Image, "save", full)
  monkeypatch.setattr(
    convert_dicom.workers, "run", lambda f, jobs: (f(*job) for job in jobs)
  )
  assert convert(tmp_path / "in", tmp_path / "out") == 2
  assert "No space left" in capsys.readouterr().err
  assert not list((tmp_path / "out").iterdir())


def test_an_interruption_is_one_sentence(tmp_path, capsys, monkeypatch):
  def interrupted(*_):
    (tmp_path / "out/a.png.tmp").write_bytes(b"half")
    raise KeyboardInterrupt

  write(tmp_path / "in/a.dcm", ramp(np.uint8, 0, 255))
  monkeypatch.setattr(convert_dicom.workers, "run", interrupted)
  assert convert(tmp_path / "in", tmp_path / "out") == 130
  assert "interrupted" in capsys.readouterr().out
  assert not list((tmp_path / "out").iterdir())


def convert(source, out, *flags):
  return convert_dicom.main([f"--source={source}", f"--out={out}", *flags])


def test_headers_of_all_kinds_and_broken_files(tmp_path, capsys):
  source, out = tmp_path / "in", tmp_path / "out"
  pixels = ramp(np.uint16, 5, 1000)
  write(source / "plain.dcm", pixels)
  write(source / "deep" / "inverted.DCM", pixels, "MONOCHROME1")
  write(source / "bare.dcm", pixels, header=False)
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
  assert "no DICOM files" in capsys.readouterr().err
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
