"""Files that the reader would misread or cannot read are named and refused."""

import ast
import io
import json
import os
from pathlib import Path
import struct
import zlib

import numpy as np
from PIL import EpsImagePlugin, ExifTags, Image, ImageOps, PngImagePlugin
import pytest
import tifffile

from data_builders import build, verify
from medad_jax.data import decode
from medad_jax.types import UserError
from tests.data_builders import sources

ROOT = Path(__file__).parents[2]
SIZE = (13, 20)


def png(bits, color_type, channels):
  """A PNG file of a bit depth that Pillow cannot write."""

  def chunk(kind, data):
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check

  width, height = SIZE
  header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
  row = b"\0" + np.arange(width * channels, dtype=f">u{bits // 8}").tobytes()
  parts = [
    chunk(b"IHDR", header),
    chunk(b"IDAT", zlib.compress(row * height)),
    chunk(b"IEND", b""),
  ]
  return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(pixels):
  """A TIFF file of color and depth that Pillow cannot write."""
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, pixels, photometric="rgb")
  return buffer.getvalue()


def saved(image, kind, **options):
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def picture(mode="L"):
  return sources.image(5, SIZE[::-1]).convert(mode)


def turned(kind, orientation):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = orientation
  return saved(picture("RGB"), kind, exif=exif)


def inspected(tmp_path, data, is_mask=False):
  path = tmp_path / "file.png"  # the ending says nothing
  path.write_bytes(data)
  return verify.inspect(path, is_mask).problem


DEEP = {
  "gray PNG": png(16, 0, 1),
  "gray and alpha PNG": png(16, 4, 2),
  "RGB PNG": png(16, 2, 3),
  "RGBA PNG": png(16, 6, 4),
  "gray TIFF": saved(picture("I;16"), "TIFF"),
  "RGB TIFF": tiff(np.full((20, 13, 3), 999, np.uint16)),
  "float TIFF": saved(picture("F"), "TIFF"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_more_than_8_bits_a_channel(kind, tmp_path):
  with decode.open_image(DEEP[kind]) as image:
    image.load()  # it is sound: only its depth is wrong
  assert "more than 8 bits" in inspected(tmp_path, DEEP[kind])


@pytest.mark.parametrize("builder", ["rsna", "isic", "brats", "c16", "folder"])
def test_builders_refuse_deep_color(builder, tmp_path):
  source = sources.make(builder, tmp_path / "source")
  paths = sources.below(source, "*")
  path = next(p for p in paths if p.suffix in (".png", ".jpg"))
  path.write_bytes(DEEP["RGB PNG"])
  with pytest.raises(UserError, match=f"{path.name}: more than 8 bits"):
    build.build(builder, source=source, data_dir=tmp_path / "data")


@pytest.mark.parametrize("mode", verify._MODES)
@pytest.mark.parametrize("kind", ["L", "RGB"])
def test_accepted_modes_can_be_read(mode, kind):
  new = Image.new(mode, SIZE)
  assert new.convert(kind).size == SIZE


def test_a_color_space_without_conversion(tmp_path):
  lab = saved(Image.new("LAB", SIZE), "TIFF")
  assert "mode LAB is neither gray nor RGB" in inspected(tmp_path, lab)
  source = sources.image_list(tmp_path / "source")
  (source / "images" / "03.png").write_bytes(lab)
  with pytest.raises(UserError, match=r"03\.png: mode LAB"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")


FRAMES = {
  "TIFF": saved(
    picture(), "TIFF", save_all=True, append_images=[picture().rotate(90)]
  ),
  "PNG": saved(
    picture(), "PNG", save_all=True, append_images=[picture().rotate(90)]
  ),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_several_pages_or_frames(kind, tmp_path):
  assert "2 pages or frames" in inspected(tmp_path, FRAMES[kind])


def test_the_previews_in_a_cameras_file_are_no_pages(tmp_path):
  data = saved(
    picture("RGB"), "MPO", save_all=True, append_images=[picture("RGB")]
  )
  with decode.open_image(data) as image:
    assert (image.format, image.n_frames) == ("MPO", 2)
  assert inspected(tmp_path, data) is None


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_orientation_that_the_reader_ignores(kind, orientation, tmp_path):
  problem = inspected(tmp_path, turned(kind, orientation))
  assert f"EXIF orientation ({orientation})" in problem


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_an_orientation_of_tiff_is_applied(orientation, compression, tmp_path):
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = orientation
  data = saved(picture(), "TIFF", exif=exif, compression=compression)
  assert inspected(tmp_path, data) is None
  with Image.open(io.BytesIO(saved(picture(), "PNG", exif=exif))) as stored:
    upright = saved(ImageOps.exif_transpose(stored), "PNG")
  np.testing.assert_array_equal(
    decode.Frame(16, 1).image(data), decode.Frame(16, 1).image(upright)
  )


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_orientations_that_turn_nothing(orientation, tmp_path):
  assert inspected(tmp_path, turned("JPEG", orientation)) is None


FOREIGN = ["EPS", "GIF", "ICO", "JPEG2000", "PCX", "PPM", "TGA", "WEBP"]


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_formats_are_not_opened(kind, tmp_path, monkeypatch):
  # The interpreter of PostScript must not even start.
  monkeypatch.setattr(EpsImagePlugin, "Ghostscript", pytest.fail)
  image = picture("RGB").resize((32, 32))
  options = (
    {"save_all": True, "append_images": [image]} if kind == "GIF" else {}
  )
  data = saved(image, kind, **options)
  assert "not an image that is read" in inspected(tmp_path, data)
  for read in (decode.Frame(16, 1).image, decode.Frame(16, 1).mask):
    with pytest.raises(Image.UnidentifiedImageError):
      read(data)


def opens(path):
  """The functions of a file that call `Image.open`."""
  for function in ast.walk(ast.parse(path.read_text())):
    if isinstance(function, ast.FunctionDef):
      for node in ast.walk(function):
        if ast.unparse(node) == "Image.open":
          yield function.name


@pytest.mark.parametrize("package", ["medad_jax", "data_builders"])
def test_one_function_opens_images(package):
  found = {
    (path.relative_to(ROOT).as_posix(), name)
    for path in (ROOT / package).rglob("*.py")
    for name in opens(path)
  }
  assert found <= {("medad_jax/data/decode.py", "open_image")}


def text_chunk():
  """A compressed comment that inflates beyond what Pillow reads."""
  info = PngImagePlugin.PngInfo()
  size = PngImagePlugin.MAX_TEXT_CHUNK + 1
  info.add_text("Comment", "x" * size, zip=True)
  return saved(picture(), "PNG", pnginfo=info)


def loop(path):
  path.symlink_to(path)


def bomb():
  head = bytearray(png(8, 0, 1))
  head[16:24] = struct.pack(">II", 50_000, 50_000)
  head[29:33] = struct.pack(">I", zlib.crc32(head[12:29]))
  return bytes(head)


STRANGE = {
  "a folder": (lambda path: path.mkdir(), "a folder, not an image"),
  "a pipe": (os.mkfifo, "a pipe or device, not an image"),
  "a link to nothing": (
    lambda path: path.symlink_to("nothing"),
    "missing",
  ),
  "a link to itself": (loop, "too many levels of symbolic links"),
  "a long text": (
    lambda path: path.write_bytes(text_chunk()),
    "truncated, corrupt or beyond Pillow's limits (Decompressed data too large",
  ),
  "too many pixels": (
    lambda path: path.write_bytes(bomb()),
    "truncated, corrupt or beyond Pillow's limits (Image size (2500000000",
  ),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("builder", ["rsna", "folder"])
def test_what_is_no_image_gets_a_sentence(kind, builder, tmp_path):
  make, reason = STRANGE[kind]
  source = sources.make(builder, tmp_path / "source")
  path = next(sources.below(source, "*.png"))
  path.unlink()
  make(path)
  with pytest.raises(UserError) as error:
    build.build(builder, source=source, data_dir=tmp_path / "data")
  assert f"{path.name}: {reason}" in str(error.value)


@pytest.mark.parametrize(
  "name",
  ["a" * 300 + ".png", "no\0name.png", "\ud800.png"],
  ids=["long", "NUL", "surrogate"],
)
def test_names_that_no_file_can_have(name, tmp_path):
  source = sources.image_list(tmp_path / "source")
  tree = json.loads((source / "data.json").read_text())
  tree["test"]["0"].append(name)
  (source / "data.json").write_text(json.dumps(tree))
  with pytest.raises(UserError, match="1 of 18 files cannot be used"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")


def test_a_file_without_permission_is_not_corrupt(tmp_path, monkeypatch):
  source = sources.image_list(tmp_path / "source")
  read = Path.read_bytes

  def refuse(path):
    if path.name == "03.png":
      raise PermissionError(13, "Permission denied", str(path))
    return read(path)

  monkeypatch.setattr(Path, "read_bytes", refuse)
  with pytest.raises(UserError, match=r"03\.png: permission denied"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")


@pytest.mark.parametrize(
  ("builder", "call"),
  [
    ("rsna", "read_bytes"),
    ("rsna", "is_file"),
    ("rsna", "is_dir"),
    ("isic", "read_bytes"),
    ("isic", "is_file"),
  ],
)
def test_a_source_without_permission_is_named(
  builder, call, tmp_path, monkeypatch
):
  source = sources.make(builder, tmp_path / "source")
  method = getattr(Path, call)

  def refuse(path):
    if not path.is_relative_to(source) or path == source:
      return method(path)
    raise PermissionError(13, "Permission denied", str(path))

  monkeypatch.setattr(Path, call, refuse)
  with pytest.raises(UserError, match=r"cannot be read \(permission denied\)"):
    build.build(builder, source=source, data_dir=tmp_path / "data")


def test_a_long_list_of_files_is_cut(tmp_path):
  source = sources.make("folder", tmp_path / "source")
  for i in range(50):
    (source / f"train/normal/bad{i:02}.png").write_text("no")
  with pytest.raises(UserError) as error:
    build.build("folder", source=source, data_dir=tmp_path / "data")
  first, *lines = str(error.value).splitlines()
  assert first.startswith("50 of ")
  assert len(lines) == 21
  assert lines[-1] == "  ... and 30 more"


def test_no_bar_in_log_files(tmp_path, capsys):
  source = sources.image_list(tmp_path / "source")
  build.build("rsna", source=source, data_dir=tmp_path / "data")
  assert "verifying" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", decode.FORMATS)
def test_what_is_accepted_can_be_read(kind, tmp_path):
  """Whatever is wrong with a file, it is found before anything is built."""
  rng = np.random.default_rng(0)
  modes = ("L", "RGB", "1") if kind == "JPEG" else ("L", "RGB", "P", "1")
  accepted = 0
  for mode in modes * 30:
    data = np.frombuffer(saved(picture(mode), kind), np.uint8).copy()
    places = rng.integers(0, min(len(data), 300), rng.integers(1, 5))
    data[places] = rng.integers(0, 256, len(places))
    if inspected(tmp_path, data.tobytes()) is None:
      accepted += 1
      for channels in (1, 3):
        decode.Frame(16, channels).image(data.tobytes())
  assert accepted < len(modes * 30)
