"""The choice of a run's feed, and its further arrays besides images."""

from pathlib import Path
import sys
from typing import Any
import zipfile
import zlib

import numpy as np

from medad_jax import files
from medad_jax.data import joined, preparation, resident, stream
from medad_jax.data.joined import Rows
from medad_jax.types import Prepare, UserError

Feed = resident.Resident | stream.Stream

_CONTENTS = "contents"  # the names of all arrays: none may be missing
# What reading a damaged archive of arrays can end in.
_DAMAGED = (
  OSError,
  EOFError,
  ValueError,
  KeyError,
  RuntimeError,  # flags of encryption or of an unknown compression
  MemoryError,
  TypeError,
  zipfile.BadZipFile,
  zlib.error,
)


def choose(
  images: Rows,
  feed: str | None,
  limit_mb: float,
  copies: int = 1,
  workers: int = 1,
) -> Feed:
  """The feed that was asked for, or the one that fits.

  Args:
    images: what it feeds.
    feed: 'resident', 'grain', 'records' or None to choose by size.
    limit_mb: what a device's memory may hold of the images, in MB.
    copies: how often they would lie in one memory: on a CPU whose cores are
      devices, each of these has its own.
    workers: processes that decode records.

  Raises:
    UserError: the name is unknown, or the images are not those of records.
  """
  if feed == "records":
    if not joined.encoded(images):
      raise UserError(
        "data.feed='records' was given, but these images are decoded already,"
        " as those of folders, generated sets and searches are; leave data.feed"
        " out."
      )
    return stream.Stream(images, workers=workers)
  kinds: dict[str | None, Any] = {
    "resident": resident.Resident,
    "grain": stream.Stream,
    None: resident.Resident
    if images.nbytes * copies <= limit_mb * 1e6
    else stream.Stream,
  }
  if feed not in kinds:
    raise UserError(
      f"data.feed='{feed}' is not a feed; set it to 'resident', 'grain' or"
      " 'records', or leave it out to choose by size."
    )
  return kinds[feed](images)


def prepared(feed: Feed, prepare: Prepare | None, path: Path) -> Feed:
  """The feed with what `prepare` makes of its images, if it is anything.

  It is made once and kept in the file `path`; where that is damaged, it is made
  again.

  Raises:
    UserError: the file cannot be written, or the images are not decoded.
  """
  if prepare is None:
    return feed
  if joined.encoded(feed.images):
    raise UserError(
      "the method makes something of all training images at once, which"
      " data.feed='records' leaves encoded; set data.feed to 'grain', or leave"
      " it out."
    )
  arrays = _read(path, len(feed.images))
  if arrays is None:
    images = preparation.to_uint8(np.asarray(feed.images))
    arrays = dict(prepare(images))
    stored: dict[str, Any] = {**arrays, _CONTENTS: list(arrays)}
    with files.replacing(path) as file:
      np.savez(file, **stored)
  return feed.beside(arrays)


def _read(path: Path, count: int) -> dict[str, np.ndarray] | None:
  """Arrays [count, ...] by name; None, with a message, where there are none."""
  if not path.exists():
    return None
  try:
    with path.open("rb") as file, zipfile.ZipFile(file):  # no other format
      file.seek(0)
      with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if set(arrays.pop(_CONTENTS)) != arrays.keys():
      raise ValueError("it does not hold what it should")
    if any(len(a) != count for a in arrays.values()):
      raise ValueError(f"it does not hold {count} images")
  except _DAMAGED as error:
    print(
      f"medad_jax: {path} is damaged ({str(error)[:80]!a}) and is made again",
      file=sys.stderr,
    )
    return None
  return arrays
