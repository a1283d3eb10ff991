"""Decoding of a built set's encoded images to arrays of one size."""

from collections.abc import Callable, Sequence
import concurrent.futures
import dataclasses
import functools
import io
import os
from pathlib import Path
import sys
from typing import Any

from jaxtyping import Bool, Shaped
import numpy as np
from PIL import Image
import tqdm

from medad_jax.data.preparation import Preparation, parse
from medad_jax.types import UserError

# Pillow opens by content, and hands an EPS file to a PostScript interpreter.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")

_CHUNK = 32  # records a thread reads at a time
_GRAY = ("1", "L", "LA")  # Pillow's modes without color
# Features of a record that mark pixels, and the arrays that they become.
_MARKING = {"mask": "masks", "healthy": "healthy"}


def open_image(data: bytes | Path) -> Image.Image:
  """Opens an encoded image of one of the `FORMATS`.

  Raises:
    PIL.UnidentifiedImageError: it is none.
  """
  file = data if isinstance(data, Path) else io.BytesIO(data)
  return Image.open(file, formats=FORMATS)


def marks(mask: Image.Image) -> Bool[np.ndarray, "h w"]:
  """Returns the pixels that a stored mask marks: all that are not black."""
  return np.asarray(mask.convert("L")) > 0


@dataclasses.dataclass(frozen=True)
class Frame:
  """The shape of decoded pictures: channels, size and the way to it.

  Attributes:
    size: height and width, pixels.
    channels: 1 (gray) or 3 (RGB).
    preparation: the steps between, as `preparation.parse` reads them.
  """

  size: int
  channels: int
  preparation: str = "stretch"

  def image(self, data: bytes) -> Shaped[np.ndarray, "h w c"]:
    """The decoded and prepared picture."""
    with open_image(data) as picture:
      return self.prepared(picture)

  def prepared(self, picture: Image.Image) -> Shaped[np.ndarray, "h w c"]:
    """The prepared picture."""
    return self._steps.image(picture, self.channels)

  def mask(self, data: bytes) -> Bool[np.ndarray, "h w"]:
    """The decoded and prepared mask; what is not black is marked."""
    with open_image(data) as picture:
      converted = picture.convert("L")
    return marks(self._steps.mask(converted))

  @property
  def dtype(self) -> type[np.generic]:
    """The type of the images' gray levels."""
    return self._steps.dtype

  @functools.cached_property
  def _steps(self) -> Preparation:
    return parse(self.preparation, self.size)


def read_split(folder: Path, split: str, frame: Frame) -> dict[str, Any]:
  """Decodes a split of a built set in parallel, into the source's order.

  Says so, once, when color images become gray.

  Args:
    folder: the version folder of a TFDS set of encoded images.
    split: its name.
    frame: what the pictures become.

  Returns:
    images [n h w c], labels [n] int32, masks and healthy pixels [n h w] bool or
    None, the tuple of names, and the columns, tuples of texts by name.

  Raises:
    UserError: the set's files are damaged.
  """

  def make(source, marking, columns) -> _Rows:
    return _Rows(len(source), frame, marking, columns)

  rows = _filled(folder, split, make, "decoding")
  if rows.lost_color:
    _tell_lost_color(folder.parent.name)
  return rows.result()


def read_places(folder: Path, split: str) -> dict[str, Any]:
  """All that is known of a split's images but pixels, in the source's order.

  Args:
    folder: the version folder of a TFDS set of encoded images.
    split: its name.

  Returns:
    places [n] int32, the number of each image's record, and labels, names and
    columns as those of `read_split`.

  Raises:
    UserError: the set's files are damaged.
  """

  def make(source, marking, columns) -> _Places:
    del marking
    return _Places(len(source), columns)

  return _filled(folder, split, make, "listing").result()


def _filled(folder: Path, split: str, make: Callable[..., Any], doing: str):
  """Rows that `make` returns for a split, filled from its records."""
  try:
    source, marking, columns = open_records(folder, split)
    rows = make(source, marking, columns)
    _fill(rows, source, f"{doing} {folder.parent.name}/{split}")
    rows.check()
  # TFDS parses damaged descriptions into anything, and so fails in any way.
  except Exception as error:
    raise UserError(
      f"the split '{split}' in {folder} cannot be read"
      f" ({' '.join(str(error).split())}); build the set again with"
      " --overwrite."
    ) from error
  return rows


@functools.cache  # the splits of a set are read one after another
def _tell_lost_color(name: str) -> None:
  print(
    f"medad_jax: {name} has RGB images; they are converted to gray.",
    file=sys.stderr,
  )


def open_records(
  folder: Path, split: str
) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
  """The encoded records, their features that are masks, and the columns."""
  import tensorflow_datasets as tfds  # half a second; decoding alone needs none

  builder = tfds.builder_from_directory(folder)
  raw = tfds.decode.SkipDecoding()
  features = builder.info.features
  marking = tuple(name for name in _MARKING if name in features)
  decoders = {name: raw for name in ("image", *marking)}
  columns = tuple(features["columns"]) if "columns" in features else ()
  source = builder.as_data_source(split, decoders=decoders)
  return source, marking, columns


def _fill(rows: "_Places", source, title: str) -> None:
  chunks = [
    range(i, min(i + _CHUNK, len(source)))
    for i in range(0, len(source), _CHUNK)
  ]
  # Threads: Pillow decodes and resizes without the interpreter's lock.
  with (
    concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    # None: no bar in log files.
    tqdm.tqdm(total=len(source), desc=title, unit="image", disable=None) as bar,
  ):
    reads = [pool.submit(rows.read, source, chunk) for chunk in chunks]
    try:
      for read in concurrent.futures.as_completed(reads):
        bar.update(read.result())
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


class _Places:
  """Rows that fill up in any order: TFDS shuffles, an id tells the place."""

  def __init__(self, count: int, columns: Sequence[str]):
    self._places = np.full(count, -1, np.int32)
    self._labels = np.zeros(count, np.int32)
    self._names = [""] * count
    self._columns = {name: [""] * count for name in columns}

  def read(self, source, chunk: Sequence[int]) -> int:
    """Places the records of these numbers, and counts them."""
    records = source.__getitems__(list(chunk))
    for number, record in zip(chunk, records, strict=True):
      self._place(number, record)
    return len(chunk)

  def check(self) -> None:
    """Raises ValueError unless every row has a record."""
    if np.any(self._places < 0):
      raise ValueError("ids are not 0 to n - 1, each once")

  def result(self) -> dict[str, Any]:
    """Arrays and texts by name."""
    return {
      "places": self._places,
      "labels": self._labels,
      "names": tuple(self._names),
      "columns": {k: tuple(texts) for k, texts in self._columns.items()},
    }

  def _place(self, number: int, record: dict[str, Any]) -> None:
    row = int(record["id"])
    self._places[row] = number
    self._labels[row] = record["label"]
    self._names[row] = record["name"].decode()
    for name, texts in self._columns.items():
      texts[row] = record["columns"][name].decode()


class _Rows(_Places):
  """Rows with pixels."""

  def __init__(
    self,
    count: int,
    frame: Frame,
    marking: Sequence[str],
    columns: Sequence[str],
  ):
    super().__init__(count, columns)
    self.lost_color = False
    self._frame = frame
    size = frame.size
    self._images = np.zeros((count, size, size, frame.channels), frame.dtype)
    self._marks = {
      name: np.zeros((count, size, size), bool) for name in marking
    }

  def result(self) -> dict[str, Any]:
    known = super().result()
    # Nothing is read from the records any more.
    del known["places"]
    return {
      **known,
      "images": self._images,
      **{kind: self._marks.get(name) for name, kind in _MARKING.items()},
    }

  def _place(self, number: int, record: dict[str, Any]) -> None:
    super()._place(number, record)
    row = int(record["id"])
    self._images[row] = self._frame.image(record["image"])
    if (
      self._frame.channels == 1
      and not self.lost_color
      and _is_color(record["image"])
    ):
      self.lost_color = True
    for name, marks in self._marks.items():
      marks[row] = self._frame.mask(record[name])


def _is_color(data: bytes) -> bool:
  with open_image(data) as picture:
    return picture.mode not in _GRAY
