"""A function of images over any number of them, without training."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data import resident
from medad_jax.engine import parallel
from medad_jax.types import Batch


class Batched:
  """Compiled once for one batch size; the batch is spread over all devices.

  Args:
    function: (states, batch) -> arrays, all with the examples first.
    batch_size: images a call, over all devices; rounded up to divide.
    mode: 'jit' or 'pmap'.
  """

  def __init__(
    self,
    function: Callable[[Any, Batch], Any],
    batch_size: int,
    mode: str = "jit",
  ):
    devices = len(jax.devices())
    self._size = -(-batch_size // devices) * devices
    self._layout = parallel.make_layout(
      1, self._size, mode=mode, member_devices=1
    )
    self._call = self._layout.lift(
      lambda states, images, ids: function(states, _batch(images, ids)),
      (parallel.WHOLE, parallel.EXAMPLE, parallel.EXAMPLE),
      parallel.EXAMPLE,
    )

  def place(self, states: Any) -> Any:
    """The states where the calls want them."""
    return self._layout.put(states, parallel.WHOLE)

  def parts(
    self, placed: Any, images: np.ndarray
  ) -> Iterator[tuple[int, int, Any]]:
    """Results of uint8 images [n h w c], batch after batch.

    Args:
      placed: states from `place`.
      images: any number.

    Yields:
      The first image's number, how many of the batch's there are, and the
      results, on the device. The last batch is filled with images once more,
      whose results come after the others'.
    """
    for at in range(0, len(images), self._size):
      ids = np.arange(at, at + self._size, dtype=np.int32)
      part = np.asarray(images[at : at + self._size])
      full = part[np.arange(self._size) % len(part)]
      args = (full, np.where(ids < len(images), ids, -1))
      found = self._call(placed, *self._layout.put(args, parallel.EXAMPLE))
      yield at, len(part), self._layout.get(found, parallel.EXAMPLE)

  def whole(self, placed: Any, images: np.ndarray) -> Any:
    """Results of all images, on the host."""
    parts = [
      jax.tree.map(lambda x, n=count: np.asarray(x)[:n], found)
      for _, count, found in self.parts(placed, images)
    ]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def _batch(images: jax.Array, ids: jax.Array) -> Batch:
  return Batch(
    image=resident.normalize(images),
    label=jnp.full(ids.shape, -1, jnp.int32),  # scores see no labels
    valid=ids >= 0,
    slot=ids,
    id=ids,
  )
