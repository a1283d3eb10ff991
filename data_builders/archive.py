"""A source that is still an archive: checked, unpacked, removed again."""

from collections.abc import Callable, Iterator
import contextlib
import gzip
import hashlib
import lzma
from pathlib import Path, PurePosixPath
import shutil
import tarfile
import zipfile
import zlib

from data_builders import litter
from medad_jax.types import UserError

KINDS = ".tar, .tar.gz, .tgz or .zip"

# What damaged archives raise while they are read.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error)
_DAMAGE += (gzip.BadGzipFile, lzma.LZMAError, RuntimeError)


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
    UserError: the file is no archive, not the known one, damaged, or would
      write outside `work`.
  """
  shutil.rmtree(work, ignore_errors=True)
  if not source.is_file():
    yield source
    return
  with _damage_named(source):
    unpack = _unpacker(source)
  _check_sum(source, md5)
  print(f"unpacking {source}")
  folder = work
  try:
    with _damage_named(source):
      unpack(source, work)
    folder = _inner(work)
    yield folder
  except UserError as error:
    # The folder is gone when somebody reads of it.
    message = str(error).replace(str(folder), str(source))
    raise UserError(message) from error
  finally:
    shutil.rmtree(work, ignore_errors=True)


def _unpacker(source: Path) -> Callable[[Path, Path], None]:
  # Tar first: the end of a zip in an uncompressed tar looks like a zip's.
  if tarfile.is_tarfile(source):
    return _unpack_tar
  if zipfile.is_zipfile(source):
    return _unpack_zip
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


def _unpack_tar(source: Path, work: Path) -> None:
  with tarfile.open(source) as archive:
    archive.extractall(work, filter="data")
    # tarfile takes whatever is no member for the end; the end is zeros.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
      raise EOFError("its end is missing")


def _unpack_zip(source: Path, work: Path) -> None:
  with zipfile.ZipFile(source) as archive:
    # zipfile would drop the dots and write the file somewhere else.
    outside = [name for name in archive.namelist() if _is_outside(name)]
    if outside:
      raise UserError(
        f"{source} names files outside of itself; it is not to be trusted:\n"
        + "\n".join(f"  {name}" for name in outside)
      )
    archive.extractall(work)


def _is_outside(name: str) -> bool:
  path = PurePosixPath(name)
  return path.is_absolute() or ".." in path.parts


@contextlib.contextmanager
def _damage_named(source: Path) -> Iterator[None]:
  try:
    yield
  except tarfile.FilterError as error:
    raise UserError(
      f"{source} names files outside of itself ({error}); it is not to be"
      " trusted."
    ) from error
  except _DAMAGE as error:
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
