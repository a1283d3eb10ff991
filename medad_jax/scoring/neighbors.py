"""Nearest neighbors: a sample of a stream, its coreset, and distances to it.

The memory bank of PatchCore (Roth et al., "Towards Total Recall in Industrial
Anomaly Detection", CVPR 2022, section 3): patch features of normal images, of
which a greedy choice keeps those that cover the others best.
"""

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from medad_jax.axis import Axis


class Reservoir:
  """A uniform sample of the rows of a stream, in bounded memory.

  Every row gets a random key, and those with the smallest keys are kept. How
  the stream is cut into batches does not matter.

  Args:
    size: rows that are kept, or all where there are fewer.
    seed: of the keys.
  """

  def __init__(self, size: int, seed: int = 0):
    self._size, self._seen = size, 0
    # RandomState, as its streams never change between versions.
    self._draw = np.random.RandomState(seed)
    self._keys = np.zeros(0)
    self._places = np.zeros(0, int)
    self._rows: np.ndarray | None = None

  def add(self, rows: Float[np.ndarray, "n d"]) -> None:
    """Adds rows of the stream."""
    keys = self._draw.random_sample(len(rows))
    places = self._seen + np.arange(len(rows))
    self._seen += len(rows)
    if len(self._keys) == self._size:
      chosen = np.flatnonzero(keys < self._keys.max())
      keys, places, rows = keys[chosen], places[chosen], rows[chosen]
    if self._rows is None:
      self._rows = np.zeros((0, rows.shape[1]), rows.dtype)
    room = self._size - len(self._rows)
    self._append(keys[:room], places[:room], rows[:room])
    self._replace(keys[room:], places[room:], rows[room:])

  def rows(self) -> Float[np.ndarray, "m d"]:
    """The sample, in the stream's order."""
    assert self._rows is not None
    return self._rows[np.argsort(self._places)]

  def _append(self, keys, places, rows):
    if len(keys):
      self._keys = np.concatenate([self._keys, keys])
      self._places = np.concatenate([self._places, places])
      self._rows = np.concatenate([self._rows, rows])

  def _replace(self, keys, places, rows):
    """Lets rows take the place of those whose keys are larger."""
    if not len(keys):
      return
    every = np.concatenate([self._keys, keys])
    kept = np.zeros(len(every), bool)
    kept[np.argpartition(every, self._size - 1)[: self._size]] = True
    free, new = np.flatnonzero(~kept[: self._size]), kept[self._size :]
    self._keys[free], self._places[free] = keys[new], places[new]
    self._rows[free] = rows[new]


def coreset(
  points: Float[Array, "m d"],
  ids: Int[Array, "m"],
  axis: Axis,
  size: int,
) -> tuple[Int[Array, "size"], Float[Array, ""]]:
  """A greedy choice of rows: the farthest from those chosen, from row 0 on.

  Of rows equally far the lowest is chosen, and none twice, so that the choice
  does not depend on the number of devices. Memory is that of the points.

  Args:
    points: this device's part of all rows, in their order.
    ids: the number of each; -1 for padding, which is never chosen.
    axis: where the rows are split.
    size: rows to choose, at most as many as there are.

  Returns:
    The rows, in the order of the choice, and the largest distance of a point
    from the nearest one of them.
  """
  # Seen from row 0 numbers are small, whichever part of the rows this is.
  points = points - axis.gather(points[:1])[0]
  squares = jnp.sum(points**2, -1)

  def farthest(far):
    at = jnp.argmax(far)
    own = far[at], ids[at], points[at], squares[at]
    lengths, *found = axis.gather(jax.tree.map(lambda x: x[None], own))
    # Parts are in the rows' order, and of equal ones argmax takes the first.
    best = jnp.argmax(lengths)
    return (x[best] for x in found)

  def choose(number, carry):
    chosen, far = carry
    row, point, square = farthest(far)
    # Products read less than all differences.
    products = jnp.matmul(points, point, precision="highest")
    gaps = jnp.maximum(squares - 2 * products + square, 0)
    far = jnp.where(ids == row, -1, jnp.minimum(far, gaps))
    return chosen.at[number].set(row), far

  # Below any distance for what cannot be chosen, and so it stays.
  start = jnp.where(ids < 0, -1, jnp.inf).astype(points.dtype)
  chosen = jnp.zeros(size, ids.dtype)
  chosen, far = lax.fori_loop(0, size, choose, (chosen, start))
  left = axis.gather(jnp.max(far)[None])
  return chosen, jnp.sqrt(jnp.maximum(jnp.max(left), 0))


def nearest(
  points: Float[Array | np.ndarray, "n d"],
  queries: Float[Array | np.ndarray, "b q d"],
  count: int = 1,
) -> Float[Array, "b q count"]:
  """Distances of queries to their nearest points, in ascending order.

  Memory is that of one block of queries: q * n distances at a time.

  Args:
    points: at least `count`.
    queries: in b blocks.
    count: neighbors of each query.
  """
  points, queries = jnp.asarray(points), jnp.asarray(queries)
  middle = jnp.mean(points, 0)
  centered = points - middle
  half = jnp.sum(centered**2, -1) / 2

  def of_block(block):
    products = jnp.matmul(block - middle, centered.T, precision="highest")
    # Half the squared distance, without what is the same for all points.
    if count == 1:
      at = jnp.argmin(half - products, -1)[:, None]
    else:
      _, at = lax.top_k(products - half, count)
    # Again from differences: products round a small distance away.
    gaps = block[:, None] - points[at]
    return jnp.sort(jnp.linalg.norm(gaps, axis=-1), -1)

  return lax.map(of_block, queries)
