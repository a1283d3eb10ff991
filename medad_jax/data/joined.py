"""Several arrays of images as one, without a copy of them."""

from collections.abc import Sequence
import math

import numpy as np

from medad_jax.augment import geometry
from medad_jax.data.records import Records


class Joined:
  """The rows of arrays one after another, read when they are asked for.

  Arrays of a cache are maps of files: what is read of them is the system's to
  drop, while a concatenation would stay in memory.

  Args:
    parts: arrays [n ...], or records, that agree in all but n.

  Attributes:
    parts: these arrays.
    shape: that of the concatenation.
    dtype: of all parts.
    nbytes: what the concatenation would take.
  """

  def __init__(self, parts: Sequence["Rows"]):
    self.parts = tuple(parts)
    count = sum(map(len, parts))
    self.shape: tuple[int, ...] = (count, *parts[0].shape[1:])
    self.dtype: np.dtype = parts[0].dtype
    self.nbytes = math.prod(self.shape) * self.dtype.itemsize

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, rows) -> np.ndarray:
    """Rows by a slice, a mask or numbers of any shape, as numpy takes them."""
    count = len(self)
    # Numbers, which every step asks for, need no list of all rows.
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "i":
      if ((rows < -count) | (rows >= count)).any():
        raise IndexError(f"not all rows {rows} are below {count}")
      rows = rows % count
    else:
      rows = np.arange(count)[rows]
    found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
    start = 0
    for part in self.parts:
      here = (rows >= start) & (rows < start + len(part))
      found[here] = part[rows[here] - start]
      start += len(part)
    return found

  def center(self, size: int) -> "Joined":
    """The middle squares of the images, still not read."""
    return Joined([center(part, size) for part in self.parts])

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    """The concatenation, in memory."""
    if copy is False:
      raise ValueError("arrays are joined by a copy only")
    return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)


# Images [n h w c] of which rows can be read.
Rows = np.ndarray | Records | Joined


def encoded(images: Rows) -> bool:
  """True if all images are records, decoded when they are read."""
  parts = images.parts if isinstance(images, Joined) else (images,)
  return all(isinstance(part, Records) for part in parts)


def join(parts: Sequence[Rows]) -> Rows:
  """The rows of several arrays; of one, the array itself."""
  return parts[0] if len(parts) == 1 else Joined(parts)


def center(images: Rows, size: int) -> Rows:
  """The middle squares of images [n h w c], without a copy."""
  if isinstance(images, np.ndarray):
    return geometry.center(images, size)
  return images.center(size)
