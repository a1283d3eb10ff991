"""Stages in closed form: what they see, what is kept of it."""

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.engine import checkpoint, fit
from medad_jax.types import Fit, TrainState
from tests import tiny


def stage(estimate=None):
  """The mean grey value of each pixel."""

  def features(states, batch):
    del states
    return batch["image"].reshape(len(batch["image"]), -1)

  return Fit("mean", ("normal",), features, estimate or mean)


def before(seeds=1):
  """What an earlier phase left."""
  return {
    "before": TrainState(
      step=jnp.zeros(seeds, jnp.int32),
      params={"shift": jnp.arange(seeds, dtype=jnp.float32)},
      extra={},
      opt={},
      key=jax.random.split(jax.random.key(0), seeds),
    )
  }


def mean(features):
  return {"mean": features.mean(0), "count": np.float32(len(features))}


def test_an_estimate_sees_every_row_of_its_pool_once(tmp_path):
  feed = tiny.feed()
  settings = tiny.run(tmp_path, feed, scoring_batch=8)
  found = fit.fit(stage(), settings, before())
  normal = feed.images[tiny.pools()["normal"]] / 127.5 - 1
  assert list(found.params["count"]) == [24]  # and none of the padding
  np.testing.assert_allclose(
    found.params["mean"][0], normal.reshape(24, -1).mean(0), atol=1e-6
  )


def test_an_estimate_is_made_once_and_found_in_its_checkpoint(tmp_path):
  settings = tiny.run(tmp_path, tiny.feed())
  made = fit.fit(stage(), settings, before())

  def fails(features):
    raise AssertionError("estimated twice")

  again = fit.fit(stage(fails), settings, before())
  jax.tree.map(np.testing.assert_array_equal, made.params, again.params)
  # An evaluation does not know how many images there were.
  alone = checkpoint.Checkpoints(tmp_path / "checkpoints", "mean").final()
  jax.tree.map(np.testing.assert_array_equal, made.params, alone.params)


def test_seeds_have_estimates_of_their_own(tmp_path):
  def features(states, batch):
    return batch["image"].mean((1, 2)) + states["before"].params["shift"]

  settings = tiny.run(tmp_path, tiny.feed(), seeds=(5, 6))
  stage_of = Fit("mean", ("normal",), features, mean)
  first, second = fit.fit(stage_of, settings, before(2)).params["mean"]
  np.testing.assert_allclose(second, first + 1, rtol=1e-5)
