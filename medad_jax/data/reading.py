"""Images of a folder, read and prepared by several threads."""

from collections.abc import Iterator, Sequence
import concurrent.futures
import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax.data import decode, scans, volumes


@dataclasses.dataclass(frozen=True)
class Read:
  """One image, or the reason why there is none.

  Attributes:
    pixels: prepared [h w c]; None where there is no image.
    reason: why there is none, or "".
    patient: as the file states it, of a slice its volume; "" for unknown.
    size: width and height of the file's image.
    mode: "L" or "RGB", of the file's image.
    bits: that a channel of the file has.
    shown: a small copy of the file's image with its sides' ratio; None unless
      one was asked for.
  """

  pixels: np.ndarray | None = None
  reason: str = ""
  patient: str = ""
  size: tuple[int, int] = (0, 0)
  mode: str = ""
  bits: int = 0
  shown: Any = None  # PIL.Image.Image


class Reader:
  """Reads images, a few at a time, in the order in which they are given.

  Args:
    folder: which patients of volumes are named below.
    frame: what pictures become.
    axis: that volumes are cut across.
    shown: the longest side of small copies, pixels; 0 for none.
  """

  def __init__(
    self, folder: Path, frame: decode.Frame, axis: volumes.Axis, shown: int = 0
  ):
    self._folder, self._frame, self._axis = folder, frame, axis
    self._shown = shown
    # Threads: Pillow decodes and resizes without the interpreter's lock.
    self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

  def __enter__(self) -> "Reader":
    return self

  def __exit__(self, *_) -> None:
    self._pool.shutdown(cancel_futures=True)

  def read(self, places: Sequence[scans.Place]) -> Iterator[Read]:
    """Yields each image, in the order of the places.

    Large pictures are dropped at once: only what `Read` holds stays.
    """
    # The slices of a volume by one thread, as they share its file.
    of_files = [
      list(group)
      for _, group in itertools.groupby(places, lambda place: place.path)
    ]
    for found in self._pool.map(self._read_file, of_files):
      yield from found

  def all(self, places: Sequence[scans.Place]) -> list[Read]:
    """The images at all places, as a list."""
    return list(self.read(places))

  def _read_file(self, places: list[scans.Place]) -> list[Read]:
    path = places[0].path
    found = scans.read(path, [place.number for place in places], self._axis)
    patient = None
    if volumes.is_volume(path):
      # Only the path tells volumes of one name apart.
      patient = scans.Place(path).name(self._folder)
    return [self._prepared(scan, patient) for scan in found]

  def _prepared(self, scan, patient: str | None) -> Read:
    if isinstance(scan, scans.Unreadable):
      return Read(reason=str(scan))
    picture = scan.picture
    shown = None
    if self._shown:
      shown = picture.copy()
      shown.thumbnail((self._shown, self._shown))
    return Read(
      self._frame.prepared(picture),
      patient=scan.patient if patient is None else patient,
      size=picture.size,
      mode=picture.mode,
      bits=scan.bits,
      shown=shown,
    )
