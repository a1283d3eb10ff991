"""Arrays of every image of a test set, on disk while an evaluation runs."""

from collections.abc import Mapping
import contextlib
import math
from pathlib import Path
import tempfile
from typing import IO

from jaxtyping import Float32
import numpy as np

from medad_jax import files


class Arrays:
  """Float32 arrays by name, written batch after batch and read as a whole.

  They lie in files without a name, which the system removes with the process,
  however it ends. They are written like any file and mapped for reading only:
  on a full disk, writing through a map ends the process with a bus error.

  Args:
    folder: whose disk holds them.
    count: images of the set.
  """

  def __init__(self, folder: Path, count: int):
    self._folder, self._count = folder, count
    # Opened with the first batch, whose shapes say how much room they need.
    self._files: dict[str, IO[bytes]] = {}
    self._shapes: dict[str, tuple[int, ...]] = {}

  def __enter__(self) -> "Arrays":
    return self

  def __exit__(self, *_) -> None:
    for file in self._files.values():
      # What was not yet written is not wanted any more.
      with contextlib.suppress(OSError):
        file.close()
    self._files.clear()

  def append(self, batch: Mapping[str, Float32[np.ndarray, "b ..."]]) -> None:
    """Adds the next images' arrays; every batch has the same names.

    Raises:
      UserError: the disk has no room for those of all images.
    """
    if not self._files:
      self._open(batch)
    for name, values in batch.items():
      try:
        # A file takes contiguous memory only; parts of a batch may be strided.
        self._files[name].write(np.ascontiguousarray(values).data)
      except OSError as error:
        raise files.unwritable(self._folder, error) from error

  def names(self) -> list[str]:
    """Names of the arrays, in the order of the batches."""
    return list(self._shapes)

  def read(self, name: str) -> Float32[np.ndarray, "n ..."]:
    """The array of all images, mapped for reading."""
    file = self._files[name]
    try:
      # memmap reads the file, which lacks what Python still buffers.
      file.flush()
    except OSError as error:
      raise files.unwritable(self._folder, error) from error
    shape = (self._count, *self._shapes[name])
    return np.memmap(file, np.float32, "r", shape=shape)

  def _open(self, batch: Mapping[str, np.ndarray]) -> None:
    self._shapes = {name: values.shape[1:] for name, values in batch.items()}
    numbers = sum(math.prod(shape) for shape in self._shapes.values())
    # Checked now: a full disk should stop a run before it has scored all
    # images.
    files.check_room(self._folder, 4 * self._count * numbers)
    try:
      for name in batch:
        self._files[name] = tempfile.TemporaryFile(dir=self._folder)
    except OSError as error:
      raise files.unwritable(self._folder, error) from error
