"""One's own images: what has to be there, and masks that match."""

import os
import shutil

import pytest

from data_builders import build
from medad_jax.data import spec
from medad_jax.types import UserError
from tests.data_builders import archive_test, sources


def make(source, tmp_path):
  return build.build(
    "folder", source=source, data_dir=tmp_path / "data", name="mine"
  )


def test_no_unlabelled_images_and_no_masks_is_fine(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.rmtree(source / "unlabelled")
  shutil.rmtree(source / "test" / "masks")
  make(source, tmp_path)
  data = spec.open_dataset(
    "mine", tmp_path / "data", image_size=16, need=("train", "test")
  )
  assert dict(data.counts) == {"train": 5, "test": 7}
  assert data.splits["test"].masks is None
  with pytest.raises(UserError, match="no images in unlabelled_normal, unl"):
    spec.open_dataset("mine", tmp_path / "data", image_size=16)


def test_a_needed_folder_without_images(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.rmtree(source / "train")
  shutil.rmtree(source / "test" / "abnormal")
  (source / "test" / "abnormal").mkdir()
  with pytest.raises(UserError, match="in train/normal, test/abnormal of"):
    make(source, tmp_path)


def test_masks_and_images_that_do_not_match_are_all_named(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  (source / "test" / "masks" / "0.bmp").rename(source / "test/masks/9.bmp")
  with pytest.raises(UserError) as error:
    make(source, tmp_path)
  assert "0.png: no mask" in str(error.value)
  assert "9.bmp: no image" in str(error.value)


def test_a_broken_mask_is_named(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  (source / "test" / "masks" / "1.bmp").write_text("no")
  with pytest.raises(UserError, match=r"test/masks/1\.bmp: not an image"):
    make(source, tmp_path)


LITTER = [
  "train/normal/.ipynb_checkpoints/0.png",
  "train/normal/.hidden/deep/0.png",
  "test/normal/@eaDir/0.png/SYNOFILE_THUMB_M.png",
  "test/abnormal/__MACOSX/0.png",
  "test/masks/#recycle/0.png",
  "unlabelled/normal/._0.png",
]


@pytest.mark.parametrize("ending", ["folder", "tar", "zip"])
@pytest.mark.parametrize("name", LITTER)
def test_litter_is_left_out_and_counted(name, ending, tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  (source / name).parent.mkdir(parents=True, exist_ok=True)
  sources.image(99).save(source / name)
  if ending != "folder":
    source = archive_test.pack(tmp_path / f"a.{ending}", source)
  make(source, tmp_path)
  data = spec.open_dataset("mine", tmp_path / "data", image_size=16)
  assert dict(data.counts) == {k: sum(v) for k, v in sources.COUNTS.items()}
  assert (
    "files left out (hidden, or of an operating system): 1,"
    in capsys.readouterr().err
  )


@pytest.mark.parametrize(
  "litter", ["@eaDir/Set/0.png", ".x/0.png", "Thumbs.db"]
)
def test_litter_beside_the_folder_of_an_archive(litter, tmp_path):
  source = sources.class_folders(tmp_path / "source")
  make(archive_test.pack(tmp_path / "a.zip", source, [litter]), tmp_path)


def test_many_kinds_of_files_are_cut(tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  for i in range(30):
    (source / f"train/normal/1.2.840.{i}").write_text("a DICOM file's name")
  make(source, tmp_path)
  [line] = capsys.readouterr().err.splitlines()
  assert ": 30, .0 (1), .1 (1), " in line
  assert line.endswith(", ...")
  assert len(line) < 250


def test_every_builder_of_folders_skips_litter(tmp_path, capsys):
  for name in ("brats", "c16", "colon", "cpchild", "oct"):
    source = sources.make(name, tmp_path / name)
    folder = next(sources.below(source, "*.*")).parent
    (folder / "@eaDir").mkdir()
    sources.image(99).save(folder / "@eaDir" / "0.png")
    build.build(name, source=source, data_dir=tmp_path / "data")
    data = spec.open_dataset(
      name, tmp_path / "data", image_size=16, need=("test",)
    )
    assert data.counts == {k: sum(v) for k, v in sources.TWO_SPLITS.items()}
    assert "@eaDir (1)" in capsys.readouterr().err


def test_files_left_out_are_counted_by_reason(tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  for name in ("a.webp", "b.WEBP", "c.gif", "d.jp2", "readme"):
    (source / "train/normal" / name).write_text("not read")
  (source / "unlabeled/normal").mkdir(parents=True)  # the American spelling
  for i in range(4):
    sources.image(80 + i).save(source / f"unlabeled/normal/{i}.png")
  make(source, tmp_path)
  error = capsys.readouterr().err
  assert "files left out (not ending in .bmp, .jpeg, .jpg, .png" in error
  assert ": 5, .gif (1), .jp2 (1), .webp (2), no ending (1)" in error
  assert "files left out (images in folders outside of the layout): 4" in error
  assert "unlabeled/normal (4)" in error


def test_a_clean_source_says_nothing(tmp_path, capsys):
  make(sources.class_folders(tmp_path / "source"), tmp_path)
  assert capsys.readouterr().err == ""


def test_linked_folders_are_read(tmp_path, capsys):
  source = sources.class_folders(tmp_path / "source")
  (source / "train/normal").rename(tmp_path / "elsewhere")
  (source / "train/normal").mkdir()
  (source / "train/normal/linked").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "elsewhere/loop").symlink_to(source / "train/normal")
  make(source, tmp_path)
  data = spec.open_dataset("mine", tmp_path / "data", image_size=16)
  names = [f"train/normal/linked/{i}.png" for i in range(5)]
  assert list(data.splits["train"].names) == names
  assert "byte-identical" not in capsys.readouterr().err


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
  source = sources.class_folders(tmp_path / "source")
  (source / "train/normal/closed").mkdir()
  scandir = os.scandir

  def refuse(path):
    if str(path).endswith("closed"):
      raise PermissionError(13, "Permission denied", str(path))
    return scandir(path)

  monkeypatch.setattr(os, "scandir", refuse)
  with pytest.raises(UserError, match="normal/closed: permission denied"):
    make(source, tmp_path)


def test_two_images_of_one_stem_do_not_share_a_mask(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  sources.image(99).save(source / "test/abnormal/1.jpg")
  with pytest.raises(UserError) as error:
    make(source, tmp_path)
  assert str(error.value).splitlines()[1:] == [
    "  test/abnormal/1.jpg: another image has the same mask",
    "  test/abnormal/1.png: another image has the same mask",
  ]


def test_two_masks_of_one_stem_are_named(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.copy(source / "test/masks/1.bmp", source / "test/masks/1.png")
  with pytest.raises(UserError) as error:
    make(source, tmp_path)
  assert [
    line.split(": ")[1] for line in str(error.value).splitlines()[1:]
  ] == ["its image has another mask"] * 2


@pytest.mark.parametrize("place", ["file", "folder", "source"])
def test_names_in_another_encoding(place, tmp_path, capsys):
  del capsys  # its standard output is as strict as a terminal
  gbk = "\u5f71\u50cf".encode("gbk").decode("utf-8", "surrogateescape")
  source = sources.class_folders(tmp_path / "source")
  if place == "file":
    (source / "test/normal/0.png").rename(source / f"test/normal/{gbk}.png")
  elif place == "folder":
    (source / f"test/normal/{gbk}").mkdir()
    (source / "test/normal/0.png").rename(source / f"test/normal/{gbk}/0.png")
  else:
    source = source.rename(tmp_path / gbk)
  flags = [f"--source={source}", f"--data_dir={tmp_path / 'data'}"]
  for _ in range(2):  # the second time says where it was built from
    assert build.main(["folder", *flags, "--name=mine"]) == 0
  data = spec.open_dataset("mine", tmp_path / "data", image_size=16)
  escaped = [n for n in data.splits["test"].names if "\\xcf\\xf1" in n]
  assert len(escaped) == (place != "source")
