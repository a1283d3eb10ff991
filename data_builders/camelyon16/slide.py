"""Slides through OpenSlide: the extra `slides`."""

from pathlib import Path
from types import ModuleType

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from medad_jax.types import UserError


class SlideError(Exception):
  """The reason why one slide cannot be used; others may be."""


def library() -> ModuleType:
  """The module `openslide`.

  Raises:
    UserError: it, or the library that it calls, is not installed.
  """
  try:
    import openslide
  except ModuleNotFoundError as error:
    raise UserError(
      "reading slides needs openslide; install with"
      " pip install 'medad-jax[slides]'."
    ) from error
  return openslide


class Slide:
  """An open slide; a context manager that closes it.

  Args:
    path: its file.

  Raises:
    SlideError: it cannot be read.
  """

  def __init__(self, path: Path):
    openslide = library()
    self._errors = (openslide.OpenSlideError, OSError)
    try:
      self._file = openslide.OpenSlide(path)
    except self._errors as error:
      raise _unreadable(error) from error

  def __enter__(self) -> "Slide":
    return self

  def __exit__(self, *_) -> None:
    self._file.close()

  @property
  def size(self) -> tuple[int, int]:
    """Width and height, pixels."""
    return self._file.dimensions

  def overview(self, level: int) -> UInt8[np.ndarray, "h w 3"]:
    """The whole slide at 1 / 2**level of its size.

    Raises:
      SlideError: it has no such level, or one that cannot be read.
    """
    factors = [round(factor) for factor in self._file.level_downsamples]
    if 1 << level not in factors:
      raise SlideError(
        f"it has no level at 1/{1 << level} of its size, but those at"
        f" 1/{', 1/'.join(map(str, factors))}"
      )
    number = factors.index(1 << level)
    size = self._file.level_dimensions[number]
    return self._read((0, 0), number, size)

  def region(
    self, row: int, column: int, size: int
  ) -> UInt8[np.ndarray, "size size 3"]:
    """A square of the slide at its full size, inside of it.

    Raises:
      SlideError: it is not inside, or cannot be read.
    """
    width, height = self.size
    # OpenSlide would fill what is missing.
    if not (0 <= row <= height - size and 0 <= column <= width - size):
      raise SlideError(
        f"the {size} pixels at row {row} and column {column} are not inside of"
        f" its {width} x {height} pixels"
      )
    return self._read((column, row), 0, (size, size))

  def _read(self, corner, level, size) -> np.ndarray:
    try:
      found = self._file.read_region(corner, level, size)
    except self._errors as error:
      raise _unreadable(error) from error
    # Tiles that were not scanned are transparent black.
    white = Image.new("RGB", found.size, "white")
    white.paste(found, mask=found.getchannel("A"))
    return np.asarray(white)


def _unreadable(error: Exception) -> SlideError:
  return SlideError(f"it cannot be read ({' '.join(str(error).split())})")
