"""Reading: the exact resize, the cache, what is asked for and is not there."""

import io
import shutil

import numpy as np
from PIL import Image
import pytest

from data_builders import build
from medad_jax.data import cache, decode, spec
from medad_jax.data.phantom import slices
from medad_jax.types import UserError
from tests.data_builders import sources


def png(array):
  buffer = io.BytesIO()
  Image.fromarray(array).save(buffer, "PNG")
  return buffer.getvalue()


@pytest.fixture
def data_dir(tmp_path):
  source = sources.image_list(tmp_path / "source")
  build.build("rsna", source=source, data_dir=tmp_path / "data")
  return tmp_path / "data"


# Of the reference's pipeline; see DDAD-ASR's `resize((64, 64), BILINEAR)`.
@pytest.mark.parametrize(
  ("shape", "factors", "total", "row", "inner", "corner"),
  [
    ((512, 512), (7, 13), 524463, (85, 166, 102, 131), 137, 151),
    ((300, 421), (3, 5), 521650, (24, 54, 87, 120), 175, 157),
  ],
)
def test_known_answers_of_the_resize(shape, factors, total, row, inner, corner):
  r, c = np.indices(shape)
  pixels = ((factors[0] * r + factors[1] * c) % 256).astype(np.uint8)
  image = decode.Frame(64, 1).image(png(pixels))
  assert image.shape == (64, 64, 1)
  assert image.dtype == np.uint8
  assert image.sum() == total
  assert tuple(image[0, :4, 0]) == row
  assert image[31, 17, 0] == inner
  assert image[63, 63, 0] == corner


def test_colour_becomes_gray_before_the_resize():
  pixels = np.random.RandomState(0).randint(0, 256, (40, 30, 3), np.uint8)
  gray = Image.fromarray(pixels).convert("L")
  assert np.array_equal(
    decode.Frame(16, 1).image(png(pixels)),
    decode.Frame(16, 1).image(png(np.asarray(gray))),
  )
  assert decode.Frame(16, 3).image(png(pixels)).shape == (16, 16, 3)
  same = decode.Frame(16, 3).image(png(np.asarray(gray)))
  assert (same == same[..., :1]).all()


def test_a_loss_of_color_is_said_once(tmp_path, capsys):
  source = tmp_path / "source"
  places = {"train/normal": 3, "test/normal": 2, "test/abnormal": 2}
  sources.fill(source, places, "{}.png", mode="RGB")
  build.build("folder", source=source, data_dir=tmp_path, name="colored")

  def said(channels):
    spec.open_dataset(
      "colored",
      tmp_path,
      image_size=16,
      channels=channels,
      need=("train", "test"),
    )
    return capsys.readouterr().err.count("colored has RGB images")

  assert [said(3), said(1), said(1)] == [0, 1, 0]


def test_masks_take_the_nearest_pixel():
  mask = np.zeros((32, 32), np.uint8)
  mask[8:16, 16:24] = 1  # faint, but marked
  small = decode.Frame(16, 1).mask(png(mask))
  assert small.dtype == bool
  assert small.sum() == 16
  assert small[4:8, 8:12].all()


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (64, 64)])
def test_a_crop_keeps_the_aspect_and_the_middle(shape):
  rows, columns = np.indices(shape)
  pixels = (rows - columns + 100).astype(np.uint8)  # a ramp, either way
  image = decode.Frame(32, 1, "crop").image(png(pixels))
  assert image.shape == (32, 32, 1)
  scale = min(shape) / 32
  y, x = (np.indices((32, 32)) - 15.5) * scale
  middle = (shape[0] - shape[1]) / 2 + 100
  # Within the half pixel of the crop and the rounding of the filter.
  assert np.abs(image[..., 0] - (y - x + middle))[2:-2, 2:-2].max() < scale


def test_a_crop_takes_the_same_pixels_of_the_mask():
  mask = np.zeros((32, 64), np.uint8)
  mask[:, 16:48] = 255
  assert decode.Frame(16, 1, "crop").mask(png(mask)).all()
  assert not decode.Frame(16, 1).mask(png(mask)).all()


def same(a, b):
  for name, split in a.splits.items():
    other = b.splits[name]
    assert split.names == other.names
    np.testing.assert_array_equal(split.images, other.images)
    np.testing.assert_array_equal(split.labels, other.labels)
  assert (a.fingerprint, a.counts) == (b.fingerprint, b.counts)


def test_a_second_start_decodes_nothing(data_dir, monkeypatch):
  first = spec.open_dataset("rsna", data_dir, image_size=16)
  monkeypatch.setattr(decode, "read_split", None)
  second = spec.open_dataset("rsna", data_dir, image_size=16)
  same(first, second)
  images = second.splits["train"].images
  assert isinstance(images, np.memmap)
  assert not images.flags.writeable


def test_the_cache_is_enough(data_dir):
  first = spec.open_dataset("rsna", data_dir, image_size=16)
  shutil.rmtree(data_dir / "rsna")
  same(first, spec.open_dataset("rsna", data_dir, image_size=16))
  with pytest.raises(UserError, match=r"medad_jax\.build rsna"):
    spec.open_dataset("rsna", data_dir, image_size=32)


def test_only_the_needed_splits_are_read(data_dir):
  for path in (data_dir / "rsna").rglob("*train*"):
    path.unlink()
  test = spec.open_dataset("rsna", data_dir, image_size=16, need=("test",))
  assert list(test.splits) == ["test"]
  assert test.counts["train"] == 5
  with pytest.raises(UserError, match="--overwrite"):
    spec.open_dataset("rsna", data_dir, image_size=16)


def truncate(path):
  path.write_bytes(path.read_bytes()[:-10])


def flip(path):
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "json"])
def test_a_damaged_cache_is_made_again(data_dir, damage, name):
  first = spec.open_dataset("rsna", data_dir, image_size=16)
  expected = {k: v.images.copy() for k, v in first.splits.items()}
  damage(data_dir / "cache" / "rsna" / "16x1" / f"test.{name}")
  again = spec.open_dataset("rsna", data_dir, image_size=16)
  for split, images in expected.items():
    np.testing.assert_array_equal(again.splits[split].images, images)


def test_a_cache_of_another_build_is_not_used(data_dir, tmp_path):
  first = spec.open_dataset("rsna", data_dir, image_size=16)
  before = first.splits["test"].images.copy()
  source = tmp_path / "source"
  sources.image(77).save(source / "images" / "02.png")
  build.build("rsna", source=source, data_dir=data_dir, overwrite=True)
  again = spec.open_dataset("rsna", data_dir, image_size=16)
  row = again.splits["test"].names.index("02.png")
  changed = (again.splits["test"].images != before).any((1, 2, 3))
  assert list(np.flatnonzero(changed)) == [row]


def test_a_cache_that_cannot_be_written_is_no_error(
  data_dir, monkeypatch, capsys
):
  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(cache.np, "save", full)
  data = spec.open_dataset("rsna", data_dir, image_size=16)
  assert len(data.splits["train"]) == 5
  assert "No space left" in capsys.readouterr().err
  assert not list((data_dir / "cache").rglob("*.tmp"))


def test_what_is_not_there_is_said_with_what_to_do(data_dir, monkeypatch):
  with pytest.raises(UserError, match=r"sets there: rsna.*build vin --source"):
    spec.open_dataset("vin", data_dir, image_size=16)
  with pytest.raises(UserError, match="no folder"):
    spec.open_dataset("vin", "/nowhere", image_size=16)
  with pytest.raises(UserError, match="no images in validation"):
    spec.open_dataset("rsna", data_dir, image_size=16, need=("validation",))
  with pytest.raises(UserError, match="2 channels"):
    spec.open_dataset("rsna", data_dir, image_size=16, channels=2)
  with pytest.raises(UserError, match="lower-case"):
    spec.open_dataset("../rsna", data_dir, image_size=16)
  monkeypatch.setenv("MEDAD_DATA_DIR", str(data_dir))
  assert spec.open_dataset("rsna", image_size=16).name == "rsna"


def test_the_phantom_needs_no_builder(tmp_path, monkeypatch):
  monkeypatch.setattr(slices, "COUNTS", sources.COUNTS)
  data = spec.open_dataset("phantom", tmp_path, image_size=32)
  assert data.counts["test"] == 7
  assert data.splits["test"].masks.any()
  assert [p.name for p in tmp_path.iterdir()] == ["cache"]
  monkeypatch.setattr(slices, "render", None)  # it comes from the cache now
  same(data, spec.open_dataset("phantom", tmp_path, image_size=32))


def test_the_phantom_is_what_its_builder_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(slices, "COUNTS", sources.COUNTS)
  build.build("phantom", data_dir=tmp_path / "built")
  rendered, built = (
    spec.open_dataset("phantom", tmp_path / place, image_size=32)
    for place in ("rendered", "built")
  )
  same(rendered, built)
  for split, found in rendered.splits.items():
    np.testing.assert_array_equal(found.masks, built.splits[split].masks)


@pytest.mark.parametrize("name", ["images.npy", "json"])
def test_a_damaged_phantom_is_rendered_again(name, tmp_path, monkeypatch):
  monkeypatch.setattr(slices, "COUNTS", sources.COUNTS)
  first = spec.open_dataset("phantom", tmp_path, image_size=32)
  expected = {k: v.images.copy() for k, v in first.splits.items()}
  flip(tmp_path / "cache" / "phantom" / "32x1" / f"test.{name}")
  again = spec.open_dataset("phantom", tmp_path, image_size=32)
  for split, images in expected.items():
    np.testing.assert_array_equal(again.splits[split].images, images)
