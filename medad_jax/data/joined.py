"""Several arrays of images as one, without a copy of them."""

from collections.abc import Sequence
import math

import numpy as np

from medad_jax.augment import geometry


class Joined:
  """The rows of arrays one after another, read when they are asked for.

  Arrays of a cache are maps of files: what is read of them is the system's to
  drop, while a concatenation would stay in memory.

  Args:
    parts: arrays [n ...] that agree in all but n.

  Attributes:
    shape: that of the concatenation.
    dtype: of all parts.
    nbytes: what the concatenation would take.
  """

  def __init__(self, parts: Sequence[np.ndarray]):
    self._parts = tuple(parts)
    count = sum(map(len, parts))
    self.shape = (count, *parts[0].shape[1:])
    self.dtype = parts[0].dtype
    self.nbytes = math.prod(self.shape) * self.dtype.itemsize

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, rows) -> np.ndarray:
    """Rows by a slice, a mask or numbers of any shape, as numpy takes them."""
    rows = np.arange(len(self))[rows]
    found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
    start = 0
    for part in self._parts:
      here = (rows >= start) & (rows < start + len(part))
      found[here] = part[rows[here] - start]
      start += len(part)
    return found

  def center(self, size: int) -> "Joined":
    """The middle squares of the images, still not read."""
    return Joined([geometry.center(part, size) for part in self._parts])

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    """The concatenation, in memory."""
    if copy is False:
      raise ValueError("arrays are joined by a copy only")
    return np.concatenate(self._parts).astype(dtype or self.dtype, copy=False)


def join(parts: Sequence[np.ndarray]) -> np.ndarray | Joined:
  """The rows of several arrays; of one, the array itself."""
  return parts[0] if len(parts) == 1 else Joined(parts)


def center(images: np.ndarray | Joined, size: int) -> np.ndarray | Joined:
  """The middle squares of images [n h w c], without a copy."""
  if isinstance(images, Joined):
    return images.center(size)
  return geometry.center(images, size)
