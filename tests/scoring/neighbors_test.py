"""Samples of a stream, coresets and nearest neighbors, beside SciPy's tree."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial

from medad_jax.axis import Axis
from medad_jax.engine import fit
from medad_jax.engine.devices import Devices
from medad_jax.scoring import neighbors
from tests.golden import cases

GOLDEN = cases.load("features_lite0")


def normal(name, shape):
  rng = np.random.RandomState(zlib.crc32(name.encode()))
  return rng.standard_normal(shape).astype(np.float32)


POINTS, QUERIES = normal("coreset", (200, 12)), normal("query", (7, 12))


def coreset(points, size, count=1, **mesh):
  """The choice on some of the simulated devices."""
  devices = Devices(tuple(jax.devices()[:count]), **mesh)
  choose = functools.partial(neighbors.coreset, size=size)
  return fit.over(devices)(choose, points)


def greedy(points, size):
  """The choice one after another: the farthest, of equal ones the first."""
  far, rows = np.full(len(points), np.inf), []
  for _ in range(size):
    rows.append(int(np.argmax(far)))
    gaps = ((points - points[rows[-1]]) ** 2).sum(1)
    far = np.minimum(far, gaps)
    far[rows] = -1
  return rows, np.sqrt(max(far.max(), 0))


def test_the_coreset_is_the_references():
  rows, radius = coreset(POINTS, 20)
  np.testing.assert_array_equal(rows, GOLDEN["coreset_rows"])
  np.testing.assert_allclose(radius, GOLDEN["coreset_radius"], rtol=1e-5)


@pytest.mark.parametrize(
  ("count", "mesh"),
  [
    (1, {}),
    (4, {}),
    (4, {"member": 2, "batch": 2}),
    (4, {"mode": "pmap"}),
  ],
)
@pytest.mark.parametrize(("points", "size"), [(1, 1), (6, 3), (97, 97)])
def test_a_coreset_is_greedy_on_any_mesh(count, mesh, points, size):
  """On few places, so that many rows are equal or equally far."""
  rng = np.random.RandomState(points + size)
  spots = rng.randint(0, 4, (points, 3)).astype(np.float32)
  rows, radius = coreset(spots, size, count, **mesh)
  wanted, far = greedy(spots, size)
  np.testing.assert_array_equal(rows, wanted)
  np.testing.assert_allclose(radius, far, rtol=1e-6)


def test_a_coreset_has_the_same_bits_on_any_number_of_devices():
  points = normal("many", (1001, 37))
  rows, radius = coreset(points, 400)
  for count in (2, 3, 8):
    others, other = coreset(points, 400, count)
    np.testing.assert_array_equal(others, rows)
    assert other == radius


def test_memory_of_a_coreset_is_that_of_its_points():
  """All differences from the points chosen would be a hundred times that."""
  points = jax.ShapeDtypeStruct((4000, 64), jnp.float32)
  ids = jax.ShapeDtypeStruct((4000,), jnp.int32)
  choose = functools.partial(neighbors.coreset, axis=Axis(), size=100)
  compiled = jax.jit(choose).lower(points, ids).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 1.5 * 4000 * 64 * 4


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
