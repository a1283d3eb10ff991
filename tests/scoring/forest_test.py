"""Isolation forests as arrays, against scikit-learn's scores of the trees."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
import sklearn.ensemble._iforest as theirs

from medad_jax.scoring import forest
from tests.golden import cases

GOLDEN = cases.load("dif_forest")


def drawn(tag, part, shape):
  """The rows that the reference was given, float32."""
  random = np.random.RandomState(
    zlib.crc32(f"dif_forest/{tag}/{part}".encode())
  )
  rows = random.standard_normal(shape).astype(np.float32)
  if part == "test":
    rows[20:] *= 2.5
    rows[:, 2] += 1
  else:
    rows[:, 0] *= 3
    rows[:, 1] += 0.5 * rows[:, 0]
  return rows


def exact(found, rows):
  """Scores in float64, given the trees."""
  with jax.enable_x64(True):
    found = jax.tree.map(jnp.asarray, found)
    return np.asarray(forest.anomaly(found, jnp.asarray(rows)))


def stored_trees():
  offsets = GOLDEN["trees_offsets_0_21_3"]
  names = {
    "feature": "feature",
    "threshold": "threshold64",
    "left": "left",
    "right": "right",
    "samples": "n",
  }
  return [
    {k: GOLDEN[f"trees_{v}_0_21_3"][a:b] for k, v in names.items()}
    for a, b in zip(offsets[:-1], offsets[1:], strict=True)
  ]


def test_stored_trees_give_the_stored_scores():
  found = forest.arrays(stored_trees(), samples=64)
  rows = drawn("trees", "test", (40, 6))
  np.testing.assert_allclose(
    exact(found, rows), -GOLDEN["trees_scores_0_21_3"], rtol=1e-12
  )


@pytest.mark.parametrize(("count", "width"), [(600, 24), (100, 7), (2, 3)])
def test_scores_are_scikit_learns(count, width):
  """For more and fewer rows than a tree draws; also of training rows."""
  train = drawn("large", "train", (count, width))
  rows = np.concatenate([drawn("large", "test", (40, width)), train])
  model = IsolationForest(random_state=3).fit(train)
  found = forest.fit(train, seed=3)
  np.testing.assert_allclose(
    exact(found, rows), -model.score_samples(rows), rtol=1e-12
  )
  single = forest.anomaly(
    jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), found),
    jnp.asarray(rows),
  )
  np.testing.assert_allclose(single, -model.score_samples(rows), rtol=1e-6)


@pytest.mark.parametrize(
  ("tag", "shape"), [("large", (600, 24)), ("small", (100, 7))]
)
def test_scores_are_spread_as_the_references(tag, shape):
  train, rows = (
    drawn(tag, "train", shape),
    drawn(tag, "test", (40, shape[1])),
  )
  scores = [exact(forest.fit(train, seed), rows) for seed in range(20)]
  wanted = -GOLDEN[f"{tag}_mean20_0_21_3"]
  spread = GOLDEN[f"{tag}_std20_0_21_3"] / np.sqrt(20)
  # Trees differ between versions of scikit-learn, their mean does not. The
  # difference of two means of 20 is spread by a factor of the root of 2.
  off = np.abs(np.mean(scores, 0) - wanted) / (np.sqrt(2) * spread)
  assert np.mean(off < 3) > 0.95 and off.max() < 5


def test_a_threshold_in_float32_splits_as_in_float64():
  exactly = np.array([0.1, -0.1, 1 / 3, 0.5])
  near = exactly.astype(np.float32)
  values = np.concatenate([np.nextafter(near, s) for s in (-9, 9)] + [near])
  for threshold in exactly:
    rounded = forest._rounded_down(np.array([threshold]))
    np.testing.assert_array_equal(
      values <= rounded, values.astype(float) <= threshold
    )


def test_the_average_depth_is_scikit_learns():
  rows = np.arange(1, 300)
  np.testing.assert_allclose(
    forest.average_depth(rows), theirs._average_path_length(rows), rtol=1e-14
  )
