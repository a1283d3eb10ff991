"""Archives as sources: checked, unpacked safely, removed."""

import contextlib
import hashlib
import io
import json
import os
import stat
import tarfile
import zipfile

import pytest

from data_builders import archive, build
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
    with zipfile.ZipFile(path, "w") as zipped:
      for name, content in files.items():
        zipped.writestr(name, content)
  else:
    mode = "w" if path.suffix == ".tar" else "w:gz"
    with tarfile.open(path, mode) as tar:
      for name, content in files.items():
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
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
  assert store.read_facts(folder)["source"] == packed.name
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
  with archive.unpacked(packed, None, tmp_path / "work") as folder:
    inside = folder / outside.relative_to("/")
    assert inside.read_bytes() == b"litter"
  assert not outside.exists()
  assert not (tmp_path / "work").exists()


def tar_entry(name, kind=tarfile.REGTYPE, target="", **pax):
  entry = tarfile.TarInfo(name)
  entry.type, entry.linkname, entry.pax_headers = kind, target, pax
  return entry


def add_to_tar(path, *entries):
  with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as tar:
    for entry in entries:
      entry.size = 4 if entry.isreg() else 0
      tar.addfile(entry, io.BytesIO(b"evil"))


def link_chain(outside):
  """CVE-2025-4517: a path longer than the system resolves leads outside."""
  long, steps, links, at = "d" * 247, "abcdefghijklmnop", [], ""
  for step in steps:
    links += [tar_entry(f"{at}{long}", tarfile.DIRTYPE)]
    links += [tar_entry(f"{at}{step}", tarfile.SYMTYPE, long)]
    at += f"{step}/"
  last = "/".join(steps) + "/" + "l" * 254
  links += [tar_entry(last, tarfile.SYMTYPE, "../" * len(steps))]
  escape = f"{last}/../../../../{str(outside.parent).lstrip('/')}"
  return [
    *links,
    tar_entry("escape", tarfile.SYMTYPE, escape),
    tar_entry("escape/" + outside.name),
  ]


TAR_TRICKS = {
  "chain": (link_chain, "a link"),
  "symlink": (lambda _: [tar_entry("a", tarfile.SYMTYPE, "/etc")], "a link"),
  "missing hard link": (
    lambda _: [tar_entry("a", tarfile.LNKTYPE, "nowhere")],
    "a link",
  ),
  "fifo": (lambda _: [tar_entry("a", tarfile.FIFOTYPE)], "a device"),
  "device": (lambda _: [tar_entry("a", tarfile.CHRTYPE)], "a device"),
  "file and folder": (
    lambda _: [tar_entry("a"), tar_entry("a", tarfile.DIRTYPE)],
    "is a file and a folder",
  ),
  "file as folder": (
    lambda _: [tar_entry("a/b.png"), tar_entry("a")],
    "is a file and a folder",
  ),
  "twice": (lambda _: [tar_entry("a"), tar_entry("./a")], "is there twice"),
  "long": (lambda _: [tar_entry("n" * 300)], "too long a name"),
  "deep": (lambda _: [tar_entry("nn/" * 900 + "n")], "too long a name"),
  "NUL": (lambda _: [tar_entry("a", path="b\0.png")], "a NUL in its name"),
  "no name": (lambda _: [tar_entry("", path="./")], "has no name"),
}


@pytest.mark.parametrize("trick", TAR_TRICKS)
def test_a_tar_that_plays_tricks_is_refused(trick, tmp_path):
  make, reason = TAR_TRICKS[trick]
  source = sources.class_folders(tmp_path / "folder")
  packed = pack(tmp_path / "a.tar", source)
  add_to_tar(packed, *make(tmp_path / "outside.png"))
  with pytest.raises(UserError) as error:
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert reason in str(error.value), error.value
  assert str(packed) in str(error.value)
  assert not list(tmp_path.rglob("outside.png"))
  assert not left_behind(tmp_path / "data")


ZIP_TRICKS = {
  "link": (["a"], stat.S_IFLNK, "a link"),
  "device": (["a"], stat.S_IFCHR, "a device"),
  "file and folder": (["a", "a/"], 0, "is a file and a folder"),
  "file as folder": (["a/b.png", "a"], 0, "is a file and a folder"),
  "twice": (["a", "a"], 0, "is there twice"),
  "long": (["n" * 300], 0, "too long a name"),
  "no name": (["./"], stat.S_IFREG, "no plain file"),
}


@pytest.mark.parametrize("trick", ZIP_TRICKS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_that_plays_tricks_is_refused(trick, tmp_path):
  names, kind, reason = ZIP_TRICKS[trick]
  source = sources.class_folders(tmp_path / "folder")
  packed = pack(tmp_path / "a.zip", source)
  with zipfile.ZipFile(packed, "a") as file:
    for name in names:
      item = zipfile.ZipInfo(name)
      item.external_attr = kind << 16
      file.writestr(item, b"" if name.endswith("/") else b"/etc/passwd")
  with pytest.raises(UserError) as error:
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert reason in str(error.value), error.value
  assert not left_behind(tmp_path / "data")


def test_a_zip_with_a_nul_in_a_name_is_refused(tmp_path):
  source = sources.class_folders(tmp_path / "folder")
  packed = pack(tmp_path / "a.zip", source, ["aXb.png"])
  packed.write_bytes(packed.read_bytes().replace(b"aXb.png", b"a\0b.png"))
  with pytest.raises(UserError, match="NUL in its name"):
    build.build("folder", source=packed, data_dir=tmp_path / "data")


def test_names_of_another_encoding_are_kept(tmp_path):
  source = sources.class_folders(tmp_path / "folder")
  raw = "\u5f71".encode("gbk")
  packed = pack(tmp_path / "a.tar", source, ["XX.png"])
  packed.write_bytes(re_summed(packed.read_bytes(), b"XX.png", raw + b".png"))
  with archive.unpacked(packed, None, tmp_path / "work") as folder:
    assert raw + b".png" in os.listdir(os.fsencode(folder))


def re_summed(tar, old, new):
  """The tar with another name in its header, whose checksum is right."""
  at = tar.index(old) // 512 * 512
  header = tar[at : at + 512].replace(old, new.ljust(len(old), b"\0"))
  total = sum(header[:148]) + sum(header[156:]) + 8 * 32
  header = header[:148] + b"%06o\0 " % total + header[156:]
  return tar[:at] + header + tar[at + 512 :]


def test_a_negative_size_ends(tmp_path):
  """Some releases of Python read such an entry again and again."""
  entry = tarfile.TarInfo("a.png")
  header = bytearray(entry.tobuf())
  header[124:136] = b"\xff" * 11 + b"\x00"  # -256
  total = sum(header[:148]) + sum(header[156:]) + 8 * 32
  header[148:156] = b"%06o\0 " % total
  packed = tmp_path / "a.tar"
  packed.write_bytes(bytes(header) + bytes(10240))
  with pytest.raises(UserError, match="negative size|cannot be unpacked"):
    build.build("folder", source=packed, data_dir=tmp_path / "data")


@pytest.mark.parametrize("ending", ["tar", "tgz", "zip"])
@pytest.mark.parametrize("folders", [0, 2])
def test_an_archive_without_files(ending, folders, tmp_path):
  packed = tmp_path / f"a.{ending}"
  if ending == "zip":
    with zipfile.ZipFile(packed, "w") as file:
      for i in range(folders):
        file.mkdir(f"{i}")
  else:
    with tarfile.open(packed, "w:gz" if ending == "tgz" else "w") as file:
      for i in range(folders):
        file.addfile(tar_entry(f"{i}", tarfile.DIRTYPE))
  with pytest.raises(UserError, match="holds no files"):
    build.build("folder", source=packed, data_dir=tmp_path / "data")
  assert not (tmp_path / "data" / "folder").exists()


def test_an_archive_larger_than_the_disk_is_not_unpacked(tmp_path):
  entry = tarfile.TarInfo("huge.png")
  entry.size = 1 << 60
  packed = tmp_path / "a.tar"
  # A hole, where the system has no such file at all.
  entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
  entry.pax_headers |= {"GNU.sparse.realsize": str(1 << 60)}
  body = b"0\n".ljust(512, b"\0")
  entry.size = len(body)
  with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT) as file:
    file.addfile(entry, io.BytesIO(body))
  with pytest.raises(UserError, match=r"MB, and .* MB left"):
    build.build("folder", source=packed, data_dir=tmp_path / "data")


@pytest.mark.parametrize("ending", ["tar", "zip"])
def test_one_changed_byte_is_never_a_traceback(ending, tmp_path, capsys):
  """Read as it was, or refused in one sentence."""
  small = tmp_path / "small"
  small.mkdir()
  (small / "a.txt").write_bytes(b"content")
  packed = pack(tmp_path / f"a.{ending}", small)
  whole = packed.read_bytes()
  for at in range(min(len(whole), 600)):  # all of the zip; the tar's header
    for change in (0xFF, 0x01):
      changed = bytes([whole[at] ^ change])
      packed.write_bytes(whole[:at] + changed + whole[at + 1 :])
      with contextlib.suppress(UserError):
        with archive.unpacked(packed, None, tmp_path / "work"):
          pass
  capsys.readouterr()


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
