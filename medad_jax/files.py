"""Files of a run, written aside and renamed: none is ever half there."""

from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import shutil
import tempfile
from typing import BinaryIO

from medad_jax.types import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
  """A new file that takes the place of `path` when the block ends.

  What was there before stays until then, and for good where the block fails.

  Args:
    path: in a folder that exists.

  Yields:
    The file, open for writing.

  Raises:
    UserError: it cannot be written.
  """
  aside = path.with_name(f".{path.name}.tmp")
  try:
    try:
      with aside.open("wb") as file:
        yield file
      aside.replace(path)
    finally:
      aside.unlink(missing_ok=True)
  except OSError as error:
    raise unwritable(path, error) from error


def write(path: Path, content: str | bytes) -> None:
  """Writes a whole file; text as UTF-8, whatever the locale says.

  A character that no text may hold, as in a file name of another encoding,
  becomes an escape.

  Raises:
    UserError: it cannot be written; what was there before stays.
  """
  if isinstance(content, str):
    content = content.encode("utf-8", "backslashreplace")
  with replacing(path) as file:
    file.write(content)


def make_folder(folder: Path) -> None:
  """Makes a folder, and checks that files can be made in it.

  Raises:
    UserError: they cannot.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except OSError as error:
    raise unwritable(folder, error) from error


def check_room(folder: Path, needed: int) -> None:
  """Checks that a folder's disk has room for so many bytes.

  Raises:
    UserError: it has not.
  """
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise UserError(
      f"{folder} has {free / 1e6:,.0f} MB free where the evaluation needs"
      f" {needed / 1e6:,.0f} MB; free space, or choose a folder on another disk"
      " with --out of python -m medad_jax.evaluate."
    )


def unwritable(path: Path, error: OSError) -> UserError:
  """The sentence about a file or folder that cannot be written."""
  reason = error.strerror or str(error) or os.strerror(error.errno or 0)
  return UserError(
    f"{path} could not be written ({reason}); free space or choose another"
    " folder, and run the same command again: what is saved stays."
  )
