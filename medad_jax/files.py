"""A user's files: where they are, reading them, and writing them whole."""

from collections.abc import Iterator
import contextlib
import json
import os
from pathlib import Path
import shutil
import tempfile
from typing import IO, Any

from medad_jax.types import UserError


def expanded(path: str | os.PathLike[str]) -> Path:
  """A path as the user means it: a leading `~` is the home folder.

  Shells do not expand the tilde of `--workdir=~/runs`.

  Raises:
    UserError: there is no such home folder.
  """
  try:
    return Path(path).expanduser()
  except RuntimeError as error:
    raise UserError(
      f"{path} names a home folder that cannot be found; give the whole path,"
      " or set HOME."
    ) from error


def data_dir() -> Path:
  """The folder of all data sets: $MEDAD_DATA_DIR, or ~/medad_data.

  Raises:
    UserError: neither the variable nor a home folder is there.
  """
  return _folder("MEDAD_DATA_DIR", "~/medad_data")


def cache_dir() -> Path:
  """The folder of cached files: $MEDAD_CACHE_DIR, or ~/.cache/medad_jax.

  Raises:
    UserError: neither the variable nor a home folder is there.
  """
  return _folder("MEDAD_CACHE_DIR", "~/.cache/medad_jax")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
  """A file that takes the place of `path` when the block has ended.

  A process that dies in the block, or an exception, leaves the old file. Only
  one process may write a path at a time.

  Args:
    path: file to write; its folder is made if it is absent.

  Yields:
    The new file, open for writing bytes.

  Raises:
    UserError: it cannot be written.
  """
  temporary = path.with_name(f"{path.name}.tmp")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
      yield file
    temporary.replace(path)
  except BaseException as error:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    if isinstance(error, OSError):
      raise unwritable(path, error) from error
    raise


def write(path: Path, content: str | bytes) -> None:
  """Writes a whole file, or nothing; text as UTF-8, whatever the locale says.

  A character that no text may hold, as in a file name of another encoding,
  becomes an escape.

  Raises:
    UserError: it cannot be written.
  """
  if isinstance(content, str):
    content = content.encode("utf-8", "backslashreplace")
  with replacing(path) as file:
    file.write(content)


def write_json(path: Path, tree: Any) -> None:
  """Writes a JSON file, whole or not at all.

  Raises:
    UserError: it cannot be written.
  """
  with replacing(path) as file:
    file.write(json.dumps(tree, indent=2).encode() + b"\n")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
  """Reads a JSON object.

  Args:
    path: file to read.
    remedy: what the user can do if it is damaged, as the end of a sentence.

  Raises:
    UserError: it cannot be read, is no JSON, or holds something else.
  """
  try:
    found = json.loads(path.read_bytes())
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}); {remedy}."
    ) from error
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is damaged ({error}); {remedy}.") from error
  if not isinstance(found, dict):
    raise UserError(
      f"{path} holds a JSON {type(found).__name__} where an object was"
      f" expected; {remedy}."
    )
  return found


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
  """The sentence for a file or folder that cannot be written."""
  return UserError(
    f"{path} cannot be written ({error.strerror or error}); make room there,"
    " or choose a folder that you may write to, and run the same command again."
  )


def _folder(variable: str, default: str) -> Path:
  given = os.environ.get(variable)
  try:
    return expanded(given or default)
  except UserError as error:
    raise UserError(
      f"{given or default} needs a home folder, and there is none; set"
      f" {variable} to a folder, or set HOME."
    ) from error
