"""Sources that can be downloaded; only the known bytes are taken."""

import dataclasses
import hashlib
from pathlib import Path

from data_builders import notices
from medad_jax import fetch
from medad_jax.types import UserError

_ZENODO = "https://zenodo.org/records/12677223/files"


@dataclasses.dataclass(frozen=True)
class Remote:
  """One file of a source.

  Attributes:
    url: where it is.
    md5: its checksum, as whoever publishes it states it.
  """

  url: str
  md5: str

  @property
  def name(self) -> str:
    """The file's name."""
    return self.url.partition("?")[0].rpartition("/")[2]


def zenodo(name: str, md5: str) -> Remote:
  """An archive of Zenodo's record 12677223, MedIAnomaly's data."""
  return Remote(f"{_ZENODO}/{name}?download=1", md5)


def download(files: tuple[Remote, ...], folder: Path, source: str) -> Path:
  """Downloads a source, as far as it is not there.

  Args:
    files: of the source.
    folder: where they go; kept by a call that fails, for the next one.
    source: what a user can give instead, for messages.

  Returns:
    The archive, if the source is one file, and else the folder.

  Raises:
    UserError: a file cannot be reached, or is not the known one.
    OSError: the disk cannot be written.
  """
  folder.mkdir(parents=True, exist_ok=True)
  paths = [folder / one.name for one in files]
  for one, path in zip(files, paths, strict=True):
    if not path.exists() or _sum(path) != one.md5:
      _download(one, path, source)
  return paths[0] if len(paths) == 1 else folder


def _download(one: Remote, path: Path, source: str) -> None:
  otherwise = (
    "run the same command again, or get it on another machine and give"
    f" --source, {source}"
  )
  going_on = path.with_name(f"{path.name}.part").exists()
  fetch.fetch(one.url, path, otherwise)
  found = _sum(path)
  if found != one.md5 and going_on:
    # What an earlier call had left may be of another file, or damaged.
    notices.warn(f"{path.name} came in parts that do not fit; once more")
    path.unlink()
    fetch.fetch(one.url, path, otherwise)
    found = _sum(path)
  if found != one.md5:
    path.unlink()
    raise UserError(
      f"{one.url} gave a file with the MD5 sum {found}, and the published one"
      f" has {one.md5}: it was changed or cut on the way, and is removed;"
      f" {otherwise}."
    )


def _sum(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "md5").hexdigest()
