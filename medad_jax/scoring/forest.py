"""Isolation forests (Liu et al., ICDM 2008): scikit-learn's trees as arrays.

scikit-learn grows them on the host; scores are computed with the arrays alone.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np
from sklearn.ensemble import IsolationForest

TREES = 100
SAMPLES = 256  # of the rows, for each tree
_DEPTH = math.ceil(math.log2(SAMPLES))
_NODES = 2 * SAMPLES - 1

# Arrays [trees, nodes] by name, and "normal", the depth that gives 1/2.
Forest = dict[str, np.ndarray]


def fit(features: Float[np.ndarray, "n d"], seed: int) -> Forest:
  """A forest with scikit-learn's default sizes.

  Args:
    features: rows, of which each tree draws 256 or all.
    seed: of the draws.
  """
  model = IsolationForest(n_estimators=TREES, random_state=seed)
  model.fit(features)
  trees = [
    {
      "feature": tree.feature,
      "threshold": tree.threshold,
      "left": tree.children_left,
      "right": tree.children_right,
      "samples": tree.n_node_samples,
    }
    for tree in (estimator.tree_ for estimator in model.estimators_)
  ]
  return arrays(trees, min(SAMPLES, len(features)))


def arrays(trees: list[dict[str, np.ndarray]], samples: int) -> Forest:
  """A forest from the nodes of its trees.

  Args:
    trees: for each, arrays [nodes]: "feature" that a node looks at,
      "threshold", "left" and "right", the numbers of the nodes that follow (-1
      at leaves), and "samples", the rows that came there.
    samples: rows that each tree was grown from.
  """
  shape = (len(trees), _NODES)
  forest: Forest = {
    "feature": np.zeros(shape, np.int32),
    "threshold": np.zeros(shape, np.float32),
    "left": np.zeros(shape, np.int32),
    "right": np.zeros(shape, np.int32),
    "depth": np.zeros(shape),
  }
  for number, tree in enumerate(trees):
    count = len(tree["feature"])
    here = np.arange(count)
    leaf = tree["left"] < 0
    # A leaf leads to itself, so that all rows take the same number of steps.
    left, right = (np.where(leaf, here, tree[k]) for k in ("left", "right"))
    depth = np.zeros(count)
    for node in here[~leaf]:  # parents come before their children
      depth[[left[node], right[node]]] = depth[node] + 1
    values = {
      "feature": np.where(leaf, 0, tree["feature"]),
      "threshold": _rounded_down(tree["threshold"]),
      "left": left,
      "right": right,
      "depth": depth + average_depth(tree["samples"]),
    }
    for name, value in values.items():
      forest[name][number, :count] = value
  return forest | {"normal": average_depth(np.array(samples))}


def anomaly(
  forest: dict[str, Array], features: Float[Array, "b d"]
) -> Float[Array, "b"]:
  """Scores in (0, 1), minus scikit-learn's `score_samples`."""
  trees = jnp.arange(len(forest["feature"]))
  node = jnp.zeros((len(features), len(trees)), jnp.int32)
  for _ in range(_DEPTH):
    feature = forest["feature"][trees, node]
    value = jnp.take_along_axis(features, feature, 1)
    below = value <= forest["threshold"][trees, node]
    node = jnp.where(
      below, forest["left"][trees, node], forest["right"][trees, node]
    )
  depth = jnp.mean(forest["depth"][trees, node], 1)
  return 2 ** (-depth / forest["normal"])


def average_depth(rows: np.ndarray) -> np.ndarray:
  """The mean depth of a leaf in trees of that many rows (equation 1)."""
  # 0 and 1 where scikit-learn has them; the formula is not right for 2.
  many = np.maximum(rows, 3).astype(float)
  formula = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
  return np.where(rows > 2, formula, np.where(rows == 2, 1.0, 0.0))


def _rounded_down(threshold):
  """The greatest float32 that is not above, which splits float32 equally."""
  near = threshold.astype(np.float32)
  lower = np.nextafter(near, np.float32(-np.inf))
  return np.where(near > threshold, lower, near)
