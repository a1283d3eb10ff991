"""Masks of every kind mark what was drawn, or are refused by name."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
import pytest

from data_builders import build, masks
from medad_jax.data import decode, spec
from medad_jax.types import UserError
from tests.data_builders import sources

# What was drawn: 64 of 4,096 pixels.
DRAWN = np.zeros((64, 64), bool)
DRAWN[18:26, 27:35] = True  # across the blocks of JPEG
WHITE = np.where(DRAWN, np.uint8(255), np.uint8(0))


def saved(image, kind="PNG", **options):
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def gray(black, white):
  return Image.fromarray(np.where(DRAWN, white, black).astype(np.uint8))


def palette(*colors):
  image = Image.fromarray(DRAWN.astype(np.uint8), "P")
  image.putpalette([value for color in colors for value in color])
  return image


def color(black, white):
  return Image.fromarray(
    np.where(DRAWN[..., None], white, black).astype(np.uint8)
  )


def with_alpha(opaque):
  alpha = Image.fromarray(opaque.astype(np.uint8))
  return Image.merge("LA", (Image.fromarray(WHITE), alpha))


def through_jpeg(quality):
  return saved(Image.fromarray(WHITE), "JPEG", quality=quality)


CLEAN = {
  "white": saved(Image.fromarray(WHITE)),
  "one": saved(gray(0, 1)),
  "one bit": saved(Image.fromarray(DRAWN)),
  "color": saved(color(0, (128, 0, 0))),
  "palette": saved(palette((0, 0, 0), (1, 1, 1))),
  "opaque alpha": saved(with_alpha(np.full_like(WHITE, 255))),
  "BMP": saved(Image.fromarray(WHITE), "BMP"),
}


@pytest.mark.parametrize("kind", CLEAN)
def test_clean_masks_are_stored_as_they_are(kind):
  assert masks.encoded(CLEAN[kind]) == CLEAN[kind]
  np.testing.assert_array_equal(decode.Frame(64, 1).mask(CLEAN[kind]), DRAWN)


FIXED = {
  **{f"JPEG {quality}": through_jpeg(quality) for quality in (30, 60, 75, 95)},
  "soft": saved(
    Image.fromarray(WHITE)
    .resize((512, 512), Image.Resampling.NEAREST)
    .resize((64, 64), Image.Resampling.LANCZOS)
    .filter(ImageFilter.GaussianBlur(0.7))
  ),
  "background 1": saved(gray(1, 255)),
  "dark palette": saved(palette((0, 0, 0), (0, 0, 1))),
  "dark background": saved(palette((2, 2, 2), (128, 0, 0))),
}


@pytest.mark.parametrize("kind", FIXED)
def test_a_threshold_at_half_finds_what_was_drawn(kind):
  stored = masks.encoded(FIXED[kind])
  found = decode.Frame(64, 1).mask(stored)
  # Smoothing takes the corners.
  assert not (found & ~DRAWN).any()
  assert found.sum() >= (60 if kind == "soft" else 64)
  with decode.open_image(stored) as image:
    assert set(np.unique(image)) == {0, 255}


AMBIGUOUS = {
  "classes": np.where(DRAWN, 2, 0) + np.eye(64, dtype=int),
  "gray classes": np.where(DRAWN, 255, 0) + 120 * np.eye(64, k=30, dtype=int),
  "two classes, no background": np.where(DRAWN, 2, 1),
  "gray background": np.where(DRAWN, 255, 100),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_more_than_one_reading_is_refused(kind):
  with pytest.raises(ValueError, match="make what is abnormal white"):
    masks.encoded(saved(Image.fromarray(AMBIGUOUS[kind].astype(np.uint8))))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparency_is_refused(mode):
  image = with_alpha(WHITE)
  if mode == "P":
    data = saved(palette((0, 0, 0), (255, 0, 0)), transparency=0)
  else:
    data = saved(image.convert(mode))
  with pytest.raises(ValueError, match="transparent"):
    masks.encoded(data)


def with_masks(folder, pictures):
  """A source of 64x64 images with these masks."""
  for place in ("train/normal", "test/normal", "test/abnormal", "test/masks"):
    (folder / place).mkdir(parents=True)
  for i, place in enumerate(["train/normal"] * 3 + ["test/normal"] * 2):
    sources.image(i, (64, 64)).save(folder / place / f"{i}.png")
  for i, data in enumerate(pictures):
    sources.image(10 + i, (64, 64)).save(folder / f"test/abnormal/{i}.png")
    (folder / f"test/masks/{i}.png").write_bytes(data)
  return folder


def made(source):
  return build.build(
    "folder", source=source, data_dir=source.parent / "data", name="mine"
  )


def test_a_build_stores_what_was_drawn(tmp_path):
  made(with_masks(tmp_path / "source", FIXED.values()))
  test = spec.open_dataset(
    "mine", tmp_path / "data", image_size=64, need=("test",)
  ).splits["test"]
  assert not test.masks[:2].any()
  counts = dict(zip(FIXED, test.masks[2:].sum((1, 2)), strict=True))
  assert counts.pop("soft") in range(60, 65)
  assert set(counts.values()) == {64}


def test_a_build_names_every_mask_that_it_refuses(tmp_path):
  bad = [saved(Image.fromarray(x.astype(np.uint8))) for x in AMBIGUOUS.values()]
  bad += [saved(with_alpha(WHITE)), saved(gray(0, 1))]
  with pytest.raises(UserError) as error:
    made(with_masks(tmp_path / "source", bad))
  first, *lines = str(error.value).splitlines()
  assert first.startswith("5 of ")
  assert [line.split(": ")[0] for line in lines] == [
    f"  test/masks/{i}.png" for i in range(5)
  ]


def test_empty_and_large_masks_are_named(tmp_path, capsys):
  pictures = [gray(0, 255), gray(0, 0), gray(255, 0), gray(255, 255)]
  made(with_masks(tmp_path / "source", map(saved, pictures)))
  error = capsys.readouterr().err
  assert (
    "1 of 4 masks of abnormal images mark nothing:\n  test/masks/1" in error
  )
  large = error.split("2 of 4 masks mark more than half")[1]
  assert "test/masks/2.png" in large
  assert "test/masks/3.png" in large


def test_masks_that_are_all_inverted_are_refused(tmp_path):
  source = with_masks(tmp_path / "source", [saved(gray(255, 0))] * 3)
  with pytest.raises(UserError, match="every mask .* more than half"):
    made(source)


BESIDE = {
  "folder": ("x.png", "masks/x.png"),
  "labels": ("x.png", "Labels/x.png"),
  "suffix": ("x.png", "x_mask.png"),
  "prefix": ("x.png", "mask-x.png"),
  "joined": ("x.png", "xMask.png"),
  "alone": ("x.png", "y_mask.png"),
  "segmentation": ("ISIC_1.jpg", "ISIC_1_segmentation.png"),
  "ground truth": ("case 1.png", "case 1 (gt).png"),
  "replaced": ("BraTS_1_flair_70.png", "BraTS_1_seg_70.png"),
}


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("place", ["train/normal", "test/abnormal"])
def test_masks_beside_images_are_named_and_refused(kind, place, tmp_path):
  source = sources.class_folders(tmp_path / "source")
  for path in sources.below(source / "test/masks", "*"):
    path.unlink()
  (source / "test/masks").rmdir()
  for i, name in enumerate(BESIDE[kind]):
    path = source / place / name
    path.parent.mkdir(exist_ok=True)
    sources.image(90 + i).save(path)
  with pytest.raises(UserError) as error:
    made(source)
  first, *lines = str(error.value).splitlines()
  assert first.startswith("1 of ")
  assert lines[0].startswith(f"  {place}/{BESIDE[kind][1]}: a mask among")


def test_masks_in_a_list_are_refused(tmp_path):
  source = sources.image_list(tmp_path / "source")
  (source / "images" / "03.png").rename(source / "images" / "02_mask.png")
  lists = source / "data.json"
  lists.write_text(lists.read_text().replace("03.png", "02_mask.png"))
  with pytest.raises(UserError, match=r"02_mask\.png: a mask among"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")


@pytest.mark.parametrize(
  "names",
  [
    ("BraTS_00_flair_70.png", "BraTS_00_flair_71.png"),
    ("label_1.png", "gt_2.png"),
    ("seg_1.png", "seg_2.png"),
    ("masked.png", "unmasking.png"),
    ("damask1.png", "damask2.png"),
    ("x.png", "y/x.png"),
  ],
)
def test_names_that_are_no_masks(names):
  root = Path("/masks/source")  # names above the source say nothing
  paths = [root / "test" / name for name in names]
  assert masks.among(paths, root) == {}
