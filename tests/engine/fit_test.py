"""Stages in closed form: what they see, what is kept of it."""

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.engine import checkpoint, fit, members
from medad_jax.engine.devices import Devices
from medad_jax.types import NORMAL, Fit, TrainState
from tests import tiny


def stage(estimate=None):
  """The mean gray value of each pixel."""

  def features(states, batch):
    del states
    return batch["image"].reshape(len(batch["image"]), -1)

  return Fit("mean", (NORMAL,), features, estimate or mean)


def before(trials=tiny.TRIALS):
  """States of an earlier stage."""
  count = len(trials)
  state = TrainState(
    step=jnp.zeros(count, jnp.int32),
    params={"shift": jnp.arange(count, dtype=jnp.float32)},
    extra={},
    opt={},
    key=jax.random.split(jax.random.key(0), count),
  )
  who = members.of_stage(Fit("before", (NORMAL,), print, print), trials)
  return {"before": (who, state)}


def mean(batches):
  """In one pass, holding no batch but the last."""
  total, count = 0.0, 0
  for features in batches:
    assert len(features) <= 8
    total, count = total + features.sum(0), count + len(features)
  return {"mean": total / count, "count": np.float32(count)}


def test_an_estimate_sees_every_row_of_its_pool_once(tmp_path):
  feed = tiny.feed()
  settings = tiny.run(tmp_path, feed, scoring_batch=8)
  found = fit.fit(stage(), settings, before())
  normal = feed.images[tiny.pools()["normal"]] / 127.5 - 1
  assert list(found.params["count"]) == [24]  # and none of the padding
  np.testing.assert_allclose(
    found.params["mean"][0], normal.reshape(24, -1).mean(0), atol=1e-6
  )


def test_features_are_a_stream(tmp_path):
  """The program's memory does not grow from batch to batch."""
  held = []

  def estimate(batches):
    for _ in batches:
      held.append(sum(array.nbytes for array in jax.live_arrays()))
    return {"count": np.float32(len(held))}

  settings = tiny.run(tmp_path, tiny.feed(), scoring_batch=4)
  fit.fit(stage(estimate), settings, before())
  assert len(held) == 3 and len(set(held)) == 1


def test_an_estimate_is_made_once_and_found_in_its_checkpoint(tmp_path):
  settings = tiny.run(tmp_path, tiny.feed(), scoring_batch=8)
  made = fit.fit(stage(), settings, before())

  def fails(features):
    raise AssertionError("estimated twice")

  # Nor is it looked for in another run, which may be gone by now.
  again = fit.fit(stage(fails), settings, before(), lambda: fails(None))
  jax.tree.map(np.testing.assert_array_equal, made.params, again.params)
  # An evaluation does not know how many images there were.
  alone = checkpoint.Checkpoints(tmp_path / "checkpoints", "mean").final()
  jax.tree.map(np.testing.assert_array_equal, made.params, alone.params)


def test_an_estimate_that_was_not_saved_is_told_of_once(tmp_path, monkeypatch):
  settings = tiny.run(tmp_path, tiny.feed(), scoring_batch=8)
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.Checkpoints, "finish", lambda *_: None)  # killed
    fit.fit(stage(), settings, before())
  fit.fit(stage(), settings, before())
  assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_cores_of_a_cpu_do_not_share_rows():
  """They would wait for each other at every step."""
  devices = Devices(tuple(jax.devices()[:2]), whole_batches=True)
  found = fit.over(devices)(
    lambda part, ids, axis: jnp.array([axis.size, len(part)]), np.ones(5)
  )
  assert found.tolist() == [1, 5]


def test_seeds_have_estimates_of_their_own(tmp_path):
  def features(states, batch):
    return batch["image"].mean((1, 2)) + states["before"].params["shift"]

  trials = members.seeds(5, 2)
  settings = tiny.run(tmp_path, tiny.feed(), trials=trials, scoring_batch=8)
  stage_of = Fit("mean", (NORMAL,), features, mean, ("before",))
  first, second = fit.fit(stage_of, settings, before(trials)).params["mean"]
  np.testing.assert_allclose(second, first + 1, rtol=1e-5)
