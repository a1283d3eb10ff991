"""Archives as sources: checked, unpacked safely, removed."""

import hashlib
import io
import json
import tarfile
import zipfile

import pytest

from data_builders import build
from data_builders.brats.builder import Builder as Brats
from medad_jax.data import spec, store
from medad_jax.types import UserError
from tests.data_builders import sources


def pack(path, source, litter=()):
  """Archives a source as the folder Set, with other files beside it."""
  files = {
    f"Set/{p.relative_to(source)}": p.read_bytes()
    for p in sorted(source.rglob("*"))
    if p.is_file()
  }
  files |= dict.fromkeys(litter, b"litter")
  if path.suffix == ".zip":
    with zipfile.ZipFile(path, "w") as archive:
      for name, content in files.items():
        archive.writestr(name, content)
  else:
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode) as archive:
      for name, content in files.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
  return path


def left_behind(data_dir):
  return list(data_dir.rglob("*source*")) + list(data_dir.rglob("*.png"))


@pytest.mark.parametrize("ending", ["tar", "tgz", "zip"])
def test_an_archive_gives_what_its_folder_gives(ending, tmp_path, capsys):
  source = sources.class_folders(tmp_path / "folder")
  litter = ["__MACOSX/Set/._a.png", "._Set", "Set/train/normal/._0.png"]
  packed = pack(tmp_path / f"a.{ending}", source, litter)
  data = tmp_path / "data"
  build.build("folder", source=source, data_dir=data, name="one")
  folder = build.build("folder", source=packed, data_dir=data, name="two")
  one, two = (
    spec.open_dataset(name, data, image_size=16, need=("test",))
    for name in ("one", "two")
  )
  assert one.fingerprint == two.fingerprint
  assert one.splits["test"].names == two.splits["test"].names
  assert store.read_facts(folder)["source"] == str(packed)
  assert hashlib.md5(packed.read_bytes()).hexdigest() in capsys.readouterr().out
  assert not left_behind(data)
  assert {p.name for p in data.iterdir()} == {"one", "two", "cache"}


def test_a_known_archive_is_checked(tmp_path, monkeypatch):
  packed = pack(tmp_path / "a.tgz", sources.brats(tmp_path / "folder"))
  found = hashlib.md5(packed.read_bytes()).hexdigest()
  with pytest.raises(UserError) as error:
    build.build("brats", source=packed, data_dir=tmp_path / "data")
  assert found in str(error.value)
  assert Brats.MD5 in str(error.value)
  monkeypatch.setattr(Brats, "MD5", found)
  build.build("brats", source=packed, data_dir=tmp_path / "data")


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
@pytest.mark.parametrize("name", ["../outside.png", "a/../../outside.png"])
def test_files_outside_are_refused(ending, name, tmp_path):
  source = sources.class_folders(tmp_path / "folder")
  packed = pack(tmp_path / f"a.{ending}", source, [name])
  with pytest.raises(UserError, match="outside"):
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert not list(tmp_path.rglob("outside.png"))
  assert not left_behind(tmp_path / "data")


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_an_absolute_name_stays_inside(ending, tmp_path):
  outside = tmp_path / "elsewhere" / "outside.png"
  source = sources.class_folders(tmp_path / "folder")
  packed = pack(tmp_path / f"a.{ending}", source, [str(outside)])
  with pytest.raises(UserError):
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert not outside.exists()


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
def test_a_damaged_archive_is_one_sentence(ending, tmp_path):
  source = sources.class_folders(tmp_path / "folder")
  packed = pack(tmp_path / f"a.{ending}", source)
  whole = bytearray(packed.read_bytes())
  middle = len(whole) // 2
  packed.write_bytes(whole[:middle])
  with pytest.raises(UserError, match=r"unpacked|can be read"):
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  whole[middle : middle + 99] = bytes(99)
  packed.write_bytes(whole)
  with pytest.raises(UserError):
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert not left_behind(tmp_path / "data")


def test_a_file_that_is_no_archive(tmp_path):
  (tmp_path / "data.json").write_text(json.dumps({"train": {}}))
  with pytest.raises(UserError, match="neither a folder nor an archive"):
    build.build("rsna", source=tmp_path / "data.json", data_dir=tmp_path)


def test_errors_name_the_archive_and_not_where_it_was_unpacked(tmp_path):
  source = sources.class_folders(tmp_path / "folder")
  (source / "test/masks/1.bmp").unlink()
  packed = pack(tmp_path / "a.zip", source)
  with pytest.raises(UserError) as error:
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert f"cannot be used in {packed};" in str(error.value)
  assert "  test/abnormal/1.png: no mask" in str(error.value).splitlines()
  assert ".building" not in str(error.value)
