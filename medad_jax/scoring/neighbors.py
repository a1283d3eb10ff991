"""Nearest neighbors: a sample of a stream, its coreset, and distances to it.

The memory bank of PatchCore (Roth et al., "Towards Total Recall in Industrial
Anomaly Detection", CVPR 2022, section 3): patch features of normal images, of
which a greedy choice keeps those that cover the others best.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np


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
  points: Float[np.ndarray, "n d"], size: int
) -> tuple[Int[np.ndarray, "m"], float]:
  """A greedy choice of rows: the farthest from those chosen, from row 0 on.

  Args:
    points: at least one.
    size: rows to choose; all are chosen where there are fewer.

  Returns:
    The rows, in the order of the choice, and the largest distance of a point
    from the nearest one of them.
  """
  rows, squares = _greedy(jnp.asarray(points), min(size, len(points)))
  return np.asarray(rows), float(np.sqrt(np.max(squares)))


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


@functools.partial(jax.jit, static_argnums=1)
def _greedy(points, size):
  # Products read less than all differences; the middle is the best origin.
  points -= jnp.mean(points, 0)
  squares = jnp.sum(points**2, -1)

  def left(distances, row):
    products = jnp.matmul(points, points[row], precision="highest")
    found = squares - 2 * products + squares[row]
    return jnp.minimum(distances, jnp.maximum(found, 0))

  def choose(number, carry):
    rows, distances = carry
    distances = left(distances, rows[number - 1])
    row = jnp.argmax(distances).astype(jnp.int32)
    return rows.at[number].set(row), distances

  start = jnp.zeros(size, jnp.int32), jnp.full(len(points), jnp.inf)
  rows, distances = lax.fori_loop(1, size, choose, start)
  return rows, left(distances, rows[-1])
