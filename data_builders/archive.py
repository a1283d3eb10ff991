"""A source that is still an archive: checked, unpacked, removed again.

Only plain files and folders with names inside the archive's own folder are
unpacked, and none before the whole list is checked. The standard library's
filter for extraction is not relied on: chains of links got past it.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import errno
import gzip
import hashlib
import lzma
import os
from pathlib import Path, PurePosixPath
import shutil
import stat
import struct
import tarfile
from typing import IO
import zipfile
import zlib

from data_builders import litter, notices
from medad_jax.types import UserError

KINDS = ".tar, .tar.gz, .tgz or .zip"

_LONGEST = 255  # bytes of a file name, on every usual file system
_LONGEST_PATH = 1024  # bytes; leaves room for the folder it goes to

# What damaged archives raise while they are read.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error)
_DAMAGE += (gzip.BadGzipFile, lzma.LZMAError, RuntimeError, struct.error)
_DAMAGE += (ValueError, OverflowError, LookupError, TypeError)


@dataclasses.dataclass(frozen=True)
class _Entry:
  """One entry of an archive.

  Attributes:
    name: as the archive has it.
    kind: "file", "folder" or what else it is.
    size: bytes.
    open: opens its content for reading.
  """

  name: str
  kind: str
  size: int
  open: Callable[[], IO[bytes]]

  @property
  def path(self) -> PurePosixPath:
    """The place that it goes to; absolute names are taken inside the folder."""
    return PurePosixPath(self.name.lstrip("/"))


@contextlib.contextmanager
def unpacked(source: Path, md5: str | None, work: Path) -> Iterator[Path]:
  """The folder that a source is, or that an archive holds.

  Args:
    source: a folder, which is used as it is, or an archive.
    md5: what the archive's checksum must be; None where it is not known.
    work: where an archive is unpacked; removed in the end, with what a killed
      process had left there.

  Yields:
    The source folder: inside an archive, the first that has more in it than
    one other folder.

  Raises:
    UserError: the file is no archive, not the known one, damaged, or holds
      something else than plain files and folders inside of it.
  """
  shutil.rmtree(work, ignore_errors=True)
  if not source.is_file():
    yield source
    return
  with _damage_named(source):
    opened = _opener(source)
  _check_sum(source, md5)
  print(f"unpacking {source}")
  folder = work
  try:
    with _damage_named(source), opened(source) as entries:
      _check(source, entries, work)
      _unpack(entries, work)
    folder = _inner(work)
    yield folder
  except UserError as error:
    # The folder is gone when somebody reads of it.
    message = str(error).replace(str(folder), str(source))
    raise UserError(message) from error
  finally:
    shutil.rmtree(work, ignore_errors=True)


def _opener(source: Path):
  # Tar first: the end of a zip in an uncompressed tar looks like a zip's.
  if tarfile.is_tarfile(source):
    return _tar
  if zipfile.is_zipfile(source):
    return _zip
  raise UserError(
    f"--source={source} is neither a folder nor an archive that can be read"
    f" ({KINDS})."
  )


def _check_sum(source: Path, known: str | None) -> None:
  with source.open("rb") as file:
    found = hashlib.file_digest(file, "md5").hexdigest()
  if known is None:
    print(f"{source} has the MD5 sum {found}; there is none to compare it to.")
  elif found != known:
    raise UserError(
      f"{source} has the MD5 sum {found}, and the published archive"
      f" {known}; download it again, or unpack it and give the folder as"
      " --source if the difference is meant."
    )


@contextlib.contextmanager
def _tar(source: Path) -> Iterator[list[_Entry]]:
  with tarfile.open(source) as archive:
    entries = []
    for member in archive:
      if member.size < 0:  # tarfile would read the same entry again and again
        raise EOFError("an entry has a negative size")
      entries.append(
        _Entry(
          member.name,
          _kind_in_tar(member),
          member.size if member.isfile() else 0,
          # As an argument: a closure would see the last member.
          lambda member=member: _content(archive, member),
        )
      )
    # tarfile takes whatever is no member for the end; the end is zeros.
    archive.fileobj.seek(archive.offset)
    end = archive.fileobj.read(tarfile.BLOCKSIZE)
    if end != bytes(tarfile.BLOCKSIZE):
      raise EOFError("its end is missing")
    yield entries


def _kind_in_tar(member: tarfile.TarInfo) -> str:
  if member.isfile():
    return "file"
  if member.isdir():
    return "folder"
  return "link" if member.issym() or member.islnk() else "device"


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
  content = archive.extractfile(member)
  assert content is not None, f"{member.name} is a plain file"
  return content


@contextlib.contextmanager
def _zip(source: Path) -> Iterator[list[_Entry]]:
  with zipfile.ZipFile(source) as archive:
    yield [
      _Entry(
        item.orig_filename,  # `filename` ends before a NUL
        _kind_in_zip(item),
        item.file_size,
        lambda item=item: archive.open(item),
      )
      for item in archive.infolist()
    ]


def _kind_in_zip(item: zipfile.ZipInfo) -> str:
  kind = stat.S_IFMT(item.external_attr >> 16)  # 0 where no Unix made it
  if item.is_dir() and kind in (0, stat.S_IFDIR):
    return "folder"
  if not item.is_dir() and kind in (0, stat.S_IFREG):
    return "file"
  return "link" if kind == stat.S_IFLNK else "device"


def _check(source: Path, entries: Sequence[_Entry], work: Path) -> None:
  """Raises UserError unless everything can be unpacked, inside of `work`."""
  if not any(entry.kind == "file" for entry in entries):
    raise UserError(
      f"{source} holds no files; download it again, or give another --source."
    )
  bad = [
    (entry, reason)
    for entry in entries
    if (reason := _problem(entry)) is not None
  ]
  if not bad:
    bad = _conflicts(entries)
  if bad:
    lines = [f"{entry.name[:_LONGEST]!a}: {reason}" for entry, reason in bad]
    raise UserError(
      f"{len(bad)} of {len(entries)} entries of {source} cannot be unpacked;"
      " download it again if it should be another file, or unpack it yourself"
      " and give the folder as --source:\n" + notices.listed(lines)
    )
  needed, parent = sum(entry.size for entry in entries), work.parent
  free = shutil.disk_usage(parent).free
  if needed > free:
    raise UserError(
      f"unpacking {source} takes {needed / 1e6:.0f} MB, and {parent} has"
      f" {free / 1e6:.0f} MB left; make room there, or choose another"
      " --data_dir."
    )


def _problem(entry: _Entry) -> str | None:
  if entry.kind not in ("file", "folder"):
    return f"a {entry.kind}, no plain file or folder"
  if ".." in entry.path.parts:
    return "names a place outside of the archive"
  if "\0" in entry.name:
    return "has a NUL in its name"
  try:
    sizes = [len(os.fsencode(part)) for part in entry.path.parts]
  except UnicodeError:
    return "has a name that this system cannot have"
  if max(sizes, default=0) > _LONGEST or sum(sizes) > _LONGEST_PATH:
    return "has too long a name"
  if entry.kind == "file" and not sizes:
    return "has no name"
  return None


def _conflicts(entries: Sequence[_Entry]) -> list[tuple[_Entry, str]]:
  """Files in each other's place."""
  files, bad = set(), []
  folders = {parent for entry in entries for parent in entry.path.parents}
  folders |= {entry.path for entry in entries if entry.kind == "folder"}
  for entry in entries:
    if entry.kind != "file":
      continue
    if entry.path in folders:
      bad.append((entry, "is a file and a folder"))
    elif entry.path in files:
      bad.append((entry, "is there twice"))
    files.add(entry.path)
  return bad


def _unpack(entries: Sequence[_Entry], work: Path) -> None:
  work.mkdir(parents=True)
  for entry in entries:
    target = work / entry.path
    if entry.kind == "folder":
      target.mkdir(parents=True, exist_ok=True)
      continue
    target.parent.mkdir(parents=True, exist_ok=True)
    # "x": what is there already was not on the list.
    with entry.open() as content, target.open("xb") as file:
      shutil.copyfileobj(content, file)


@contextlib.contextmanager
def _damage_named(source: Path) -> Iterator[None]:
  try:
    yield
  except (*_DAMAGE, OSError) as error:
    # A damaged offset is a place that no file has; others are the disk's.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
      raise
    raise UserError(
      f"{source} cannot be unpacked ({' '.join(str(error).split())}); download"
      " it again."
    ) from error


def _inner(folder: Path) -> Path:
  inside = [
    path for path in folder.iterdir() if not litter.is_litter(path.name)
  ]
  if len(inside) == 1 and inside[0].is_dir():
    return _inner(inside[0])
  return folder
