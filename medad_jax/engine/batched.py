"""A function of images over any number of them, without training."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data import joined, resident
from medad_jax.engine import parallel
from medad_jax.engine.devices import Devices
from medad_jax.types import Batch


class Batched:
  """Compiled once for one batch size; the batch is spread over all devices.

  Args:
    function: (states, batch) -> arrays, all with the examples first.
    batch_size: images a call, over all devices; rounded up to divide.
    devices: the run's.
  """

  def __init__(
    self,
    function: Callable[[Any, Batch], Any],
    batch_size: int,
    devices: Devices,
  ):
    count = len(devices.all)
    # Rounded up, as EXAMPLE cuts a batch into equal parts, one a device.
    self.size = -(-batch_size // count) * count
    # Not the mesh of the training: there are no members to spread, so all
    # devices share the batch.
    self._layout = Devices(devices.all, devices.mode, member=1).layout(
      1, self.size
    )
    self._call: Any = self._layout.lift(
      lambda states, arrays: function(states, batch_of(arrays)),
      (parallel.WHOLE, parallel.EXAMPLE),
      parallel.EXAMPLE,
    )

  def place(self, states: Any) -> Any:
    """The states where the calls want them."""
    return self._layout.put(states, parallel.WHOLE)

  def trace(self, states: Any, arrays: Any) -> jax.stages.Traced:
    """The program for shapes, without running it; not under 'pmap'."""
    return self._call.trace(states, arrays)

  def parts(
    self,
    placed: Any,
    images: joined.Rows,
    beside: Mapping[str, np.ndarray] | None = None,
  ) -> Iterator[tuple[int, int, Any]]:
    """Yields (offset, count, results), batch after batch.

    The last batch is padded by repeating images; only the first `count` results
    are valid. They stay on the device.

    Args:
      placed: states from `place`.
      images: gray levels [n h w c], as they are stored.
      beside: what else the function wants of each image, [n ...] by its name
        in `Batch`; "source" are images, too.
    """
    for at in range(0, len(images), self.size):
      ids = np.arange(at, at + self.size, dtype=np.int32)
      count = min(self.size, len(images) - at)
      # Padding keeps one shape, and so one compilation; id -1 marks it.
      rows = at + np.arange(self.size) % count
      arrays = {
        "id": np.where(ids < len(images), ids, -1),
        "image": np.asarray(images[rows]),
      }
      for name, values in (beside or {}).items():
        arrays[name] = np.asarray(values[rows])
      # Dispatch is asynchronous: nothing here waits for the device.
      found = self._call(placed, self._layout.put(arrays, parallel.EXAMPLE))
      yield at, count, self._layout.get(found, parallel.EXAMPLE)

  def batches(
    self,
    placed: Any,
    images: joined.Rows,
    beside: Mapping[str, np.ndarray] | None = None,
  ) -> Iterator[Any]:
    """Yields the results of all images, batch after batch, on the host."""
    for _, count, found in self.parts(placed, images, beside):
      yield jax.tree.map(lambda x, n=count: np.asarray(x)[:n], found)

  def whole(
    self,
    placed: Any,
    images: joined.Rows,
    beside: Mapping[str, np.ndarray] | None = None,
  ) -> Any:
    """Results of all images, on the host."""
    parts = list(self.batches(placed, images, beside))
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def batch_of(arrays: dict[str, jax.Array]) -> Batch:
  """The batch that a function of stored images is given."""
  ids = arrays["id"]
  known = {
    "label": jnp.full(ids.shape, -1, jnp.int32),  # scores see no labels
    "valid": ids >= 0,
    "slot": ids,
  }
  for name in ("image", "source"):
    if name in arrays:
      known[name] = resident.normalize(arrays[name])
  return cast(Batch, arrays | known)
