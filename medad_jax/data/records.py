"""Images that stay in a built set's records, encoded, until they are read."""

import functools
import math
from pathlib import Path
from typing import Any

from jaxtyping import Int, Shaped
import numpy as np

from medad_jax.augment import geometry


class Records:
  """Images of a split, decoded and prepared whenever rows are read.

  Neither memory nor disk holds them decoded. It can be pickled: every process
  opens the files of its own.

  Args:
    folder: the version folder of the built set.
    split: its name.
    frame: what the pictures become, a `decode.Frame`.
    places: the number of each image's record, int32 [n].
    middle: pixels a side of the middle squares that are kept; None for all.

  Attributes:
    shape: of all images, (n, h, w, c).
    dtype: of their gray levels.
    nbytes: what they would take.
  """

  def __init__(
    self,
    folder: Path,
    split: str,
    frame: Any,  # its module imports Pillow, which caches do without
    places: Int[np.ndarray, "n"],
    middle: int | None = None,
  ):
    self._folder, self._split, self._frame = folder, split, frame
    self._places, self._middle = places, middle
    side = middle or frame.size
    self.shape = (len(places), side, side, frame.channels)
    self.dtype = np.dtype(frame.dtype)
    self.nbytes = math.prod(self.shape) * self.dtype.itemsize

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, rows) -> Shaped[np.ndarray, "*n h w c"]:
    """Rows by a slice, a mask or numbers of any shape, as numpy takes them."""
    # Numbers, which every step asks for, need no list of all rows.
    if not (isinstance(rows, np.ndarray) and rows.dtype.kind == "i"):
      rows = np.arange(len(self))[rows]
    # Members of an ensemble share images: each is decoded once.
    wanted, back = np.unique(rows, return_inverse=True)
    found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
    numbers = self._places[wanted].tolist()
    for row, record in enumerate(self._source.__getitems__(numbers)):
      image = self._frame.image(record["image"])
      found[row] = geometry.center(image[None], self.shape[1])[0]
    return found[back.reshape(rows.shape)]

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    """All images, in memory."""
    if copy is False:
      raise ValueError("records are decoded into a copy only")
    return self[:].astype(dtype or self.dtype, copy=False)

  def __getstate__(self) -> dict[str, Any]:
    return {k: v for k, v in vars(self).items() if k != "_source"}

  def center(self, size: int) -> "Records":
    """The middle squares of the images, still not read."""
    return Records(
      self._folder, self._split, self._frame, np.asarray(self._places), size
    )

  @functools.cached_property
  def _source(self) -> Any:
    """The records with the images as their files have them."""
    from medad_jax.data import decode  # with it Pillow and TFDS

    return decode.open_records(self._folder, self._split)[0]
