"""Samples of a stream, coresets and nearest neighbors, beside SciPy's tree."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial

from medad_jax.scoring import neighbors
from tests.golden import cases

GOLDEN = cases.load("features_lite0")


def normal(name, shape):
  rng = np.random.RandomState(zlib.crc32(name.encode()))
  return rng.standard_normal(shape).astype(np.float32)


POINTS, QUERIES = normal("coreset", (200, 12)), normal("query", (7, 12))


def test_the_coreset_is_the_references():
  rows, radius = neighbors.coreset(POINTS, 20)
  np.testing.assert_array_equal(rows, GOLDEN["coreset_rows"])
  np.testing.assert_allclose(radius, GOLDEN["coreset_radius"], rtol=1e-5)


def test_distances_are_the_references():
  chosen = POINTS[GOLDEN["coreset_rows"]]
  one = neighbors.nearest(chosen, QUERIES[None])[0, :, 0]
  np.testing.assert_allclose(one, GOLDEN["nearest"], rtol=1e-5)
  five = neighbors.nearest(POINTS, QUERIES[None], 5)[0].mean(-1)
  np.testing.assert_allclose(five, GOLDEN["knn5"], rtol=1e-5)


def test_neighbors_are_those_of_a_tree_in_every_block():
  found = neighbors.nearest(POINTS, QUERIES[:6].reshape(3, 2, 12), 4)
  wanted, _ = spatial.KDTree(POINTS).query(QUERIES[:6], 4)
  np.testing.assert_allclose(found.reshape(6, 4), wanted, rtol=1e-5)


def test_a_point_itself_is_at_distance_zero_far_from_the_origin():
  points = POINTS + 1000
  found = neighbors.nearest(points, points[None, :50])
  np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("size", [1, 200, 500])
def test_a_coreset_has_as_many_points_as_there_are(size):
  rows, radius = neighbors.coreset(POINTS, size)
  assert len(set(rows.tolist())) == min(size, 200)
  if size == 1:
    gaps = np.linalg.norm(POINTS - POINTS[0], axis=1)
    np.testing.assert_allclose(radius, gaps.max(), rtol=1e-5)
  else:
    assert radius < 1e-2


def test_memory_is_that_of_one_block():
  """Distances of all queries at once would be 82 MB."""
  points = jax.ShapeDtypeStruct((4000, 16), jnp.float32)
  queries = jax.ShapeDtypeStruct((64, 80, 16), jnp.float32)
  compiled = jax.jit(neighbors.nearest).lower(points, queries).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 10e6


def sample(stream, size, *cuts):
  reservoir = neighbors.Reservoir(size)
  for part in np.split(stream, cuts):
    reservoir.add(part)
  return reservoir.rows()


def test_a_sample_does_not_depend_on_the_batches():
  whole = sample(POINTS, 30)
  assert whole.shape == (30, 12)
  for cuts in ((7,), (29, 30, 31), range(1, 200)):
    np.testing.assert_array_equal(sample(POINTS, 30, *cuts), whole)
  np.testing.assert_array_equal(sample(POINTS, 500, 7), POINTS)


def test_every_row_is_as_likely_as_any_other():
  stream = np.arange(20.0)[:, None]
  count = np.zeros(20)
  for seed in range(2000):
    reservoir = neighbors.Reservoir(5, seed)
    for part in np.split(stream, 4):
      reservoir.add(part)
    count[reservoir.rows()[:, 0].astype(int)] += 1
  # 2000 draws of 5 in 20: 500 +- 19 each.
  assert np.abs(count - 500).max() < 4.5 * 19.4


def test_the_sample_is_all_that_a_long_stream_leaves():
  reservoir = neighbors.Reservoir(100)
  for _ in range(50):
    reservoir.add(np.ones((1000, 3), np.float32))
  held = [v for v in vars(reservoir).values() if isinstance(v, np.ndarray)]
  assert max(map(len, held)) == 100
