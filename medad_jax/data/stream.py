"""The feed for sets that do not fit on a device: host rows through grain.

The rows are those of `index.Order`, so both feeds give the same batches; grain
adds the threads that read ahead while the device computes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from jaxtyping import Array
import numpy as np

from medad_jax.data import index, preparation, resident
from medad_jax.data.joined import Joined
from medad_jax.types import Batch


class Stream:
  """Chunks of images, read ahead from an array that may lie on disk."""

  constant: ClassVar[dict[str, np.ndarray]] = {}  # nothing stays there

  def __init__(
    self,
    images: preparation.Images | Joined,
    prepared: Mapping[str, np.ndarray] | None = None,
  ):
    self.images = images
    self._arrays: dict[str, np.ndarray | Joined] = {"image": images}
    self._arrays |= prepared or {}

  def beside(self, prepared: Mapping[str, np.ndarray]) -> "Stream":
    """The feed with more of each image: arrays [n ...] by name."""
    known = {k: np.asarray(v) for k, v in self._arrays.items() if k != "image"}
    return Stream(self.images, {**known, **prepared})

  def chunks(
    self,
    order: index.Order,
    bounds: Sequence[tuple[int, int]],
    members: Sequence[int],
    sources: bool,
    part: index.Part = index.everything,
  ) -> Iterator[resident.Feed]:
    """Yields, for each (start, stop), arrays [stop - start, k, b, ...].

    Args:
      order: the batches.
      bounds: steps of each chunk.
      members: whose batches.
      sources: whether every example has a second image.
      part: the members and rows that are wanted; no others are read.
    """
    import grain  # only here: a machine without grain trains resident

    def read(rows: dict[str, np.ndarray]) -> resident.Feed:
      found = {name: whole[rows["id"]] for name, whole in self._arrays.items()}
      chunk = {"id": rows["id"], "slot": rows["slot"], **found}
      if sources:
        chunk["source"] = self.images[rows["source"]]
      return chunk

    # One reader: `Order` caches a member's epoch, and asks for it in turn.
    rows = grain.MapDataset.range(len(bounds)).map(
      lambda i: index.cut(order.rows(*bounds[i], members), part)
    )
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    yield from rows.map(read).to_iter_dataset(options)

  @staticmethod
  def batch(
    constant: dict[str, Array],
    chunk: dict[str, Array],
    change: resident.Change | None = None,
  ) -> Batch:
    """A batch from images that came with the chunk."""
    del constant
    return resident.assemble(chunk, change)
