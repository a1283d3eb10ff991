"""The feed for sets that do not fit on a device: host rows through grain.

The rows are those of `index.Order`, so all feeds give the same batches; grain
adds what reads ahead while the device computes: a thread where rows lie in an
array, processes where they are decoded.
"""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from typing import ClassVar

from jaxtyping import Array
import numpy as np

from medad_jax.data import index, resident
from medad_jax.data.joined import Rows
from medad_jax.types import Batch


class Stream:
  """Chunks of images, read ahead from an array on disk or from records.

  Args:
    images: by row.
    prepared: more of each image, arrays [n ...] by name.
    workers: processes that read; 0 for a thread of this one.
  """

  constant: ClassVar[dict[str, np.ndarray]] = {}  # nothing stays there

  def __init__(
    self,
    images: Rows,
    prepared: Mapping[str, np.ndarray] | None = None,
    workers: int = 0,
  ):
    self.images = images
    self._workers = workers
    self._arrays: dict[str, Rows] = {"image": images, **(prepared or {})}

  def beside(self, prepared: Mapping[str, np.ndarray]) -> "Stream":
    """The feed with more of each image: arrays [n ...] by name."""
    known = {k: np.asarray(v) for k, v in self._arrays.items() if k != "image"}
    return Stream(self.images, {**known, **prepared}, self._workers)

  def chunks(
    self,
    order: index.Order,
    bounds: Sequence[tuple[int, int]],
    members: Sequence[int],
    sources: bool,
    part: index.Part = index.everything,
  ) -> resident.Chunks:
    """Yields, for each (start, stop), arrays [stop - start, k, b, ...].

    Args:
      order: the batches.
      bounds: steps of each chunk.
      members: whose batches.
      sources: whether every example has a second image.
      part: the members and rows that are wanted; no others are read.
    """
    import grain  # only here: a machine without grain trains resident

    sizes = {order.step_size(start) for start, _ in bounds}
    # Programs are asked here: other processes have none.
    parts = {size: part(len(members), size) for size in sizes}
    read = _Read(self._arrays, order, bounds, members, parts, sources)
    # One thread a process: `Order` caches a member's epoch, and asks for it in
    # turn.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    found = grain.MapDataset.range(len(bounds)).map(read)
    ahead = found.to_iter_dataset(options)
    if not self._workers:
      yield from ahead
      return
    from absl import flags  # grain has it

    # It asks flags of its own, which absl's programs alone have parsed.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    several = grain.MultiprocessingOptions(num_workers=self._workers)
    # Chunks come in their order, whichever process is the first.
    with contextlib.closing(iter(ahead.mp_prefetch(several, _follow))) as ready:
      for chunk in ready:
        # Copies: memory that processes share stays until nobody looks at it,
        # and a CPU's arrays may do that to the end.
        yield {name: np.array(rows) for name, rows in chunk.items()}

  @staticmethod
  def batch(
    constant: dict[str, Array],
    chunk: dict[str, Array],
    change: resident.Change | None = None,
  ) -> Batch:
    """A batch from images that came with the chunk."""
    del constant
    return resident.assemble(chunk, change)


@dataclasses.dataclass(frozen=True, eq=False)
class _Read:
  """Reads chunks by number, here or in another process.

  Attributes:
    arrays: of all images, by name.
    order: the batches.
    bounds: steps of each chunk.
    members: whose batches.
    parts: the members and rows that are wanted, by the size of a step.
    sources: whether every example has a second image.
  """

  arrays: Mapping[str, Rows]
  order: index.Order
  bounds: Sequence[tuple[int, int]]
  members: Sequence[int]
  parts: Mapping[int, tuple[slice, slice]]
  sources: bool

  def __call__(self, number: int) -> resident.Feed:
    rows = self.order.rows(*self.bounds[number], self.members)
    rows = index.cut(rows, lambda _, size: self.parts[size])
    chunk = {name: whole[rows["id"]] for name, whole in self.arrays.items()}
    if self.sources:
      chunk["source"] = self.arrays["image"][rows["source"]]
    else:
      del rows["source"]
    return {**rows, **chunk}


def _follow(*_: int) -> None:
  """Lets this process end with the one that reads from it, and not before."""
  # Ctrl-C reaches all processes of a terminal; a traceback each helps nobody.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  parent = multiprocessing.parent_process()

  def end() -> None:
    if parent is not None:
      parent.join()
    # grain waits for a word, which a parent that was killed never says.
    os._exit(0)

  threading.Thread(target=end, daemon=True).start()
