"""Deep-IF: the whole way from images to scikit-learn's scores."""

import jax
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from medad_jax.engine import fit, members, scorer
from medad_jax.methods import deep_if
from tests import tiny

SHAPE = (32, 32, 3)


def trained(tmp_path, trials, **fields):
  method = deep_if.Method(
    "random", layer="maxpool_3a", side=40, rows=16, **fields
  )
  features, forest = method.phases()
  states = {"features": members.init_states(features, trials, SHAPE)}
  earlier = {
    "features": (members.of_stage(features, trials), states["features"])
  }
  feed = tiny.feed(SHAPE)
  pools = {"normal": np.arange(24)[: method.rows]}
  settings = tiny.run(tmp_path, feed, trials=trials, pools=pools)
  states["forest"] = fit.estimate(forest, settings, earlier)
  return method, states


@pytest.mark.parametrize(
  ("compared", "name", "columns"),
  [
    ((), "forest", slice(None)),
    # In an order of their own; the network's is conv2d_1a, conv2d_2a.
    (("conv2d_2a", "conv2d_1a"), "forest_conv2d_2a", slice(32, 64)),
  ],
)
def test_scores_are_scikit_learns_of_the_same_features(
  compared, name, columns, tmp_path
):
  method, states = trained(tmp_path, tiny.TRIALS, compared=compared)
  own = jax.tree.map(lambda x: x[0], states)

  def see(images):
    batch = {"image": images.astype(np.float32) / 127.5 - 1}
    return np.asarray(jax.jit(method.features)(own, batch))[:, columns]

  test = tiny.images(10, 1, SHAPE)
  model = IsolationForest(random_state=0)
  model.fit(see(tiny.images(shape=SHAPE)[:16]))
  ready = scorer.Scorer(method, states, 8, tiny.devices())
  found = ready.images(test)[name][:, 0]
  np.testing.assert_allclose(found, -model.score_samples(see(test)), rtol=1e-5)


def test_trials_have_forests_of_their_own(tmp_path):
  _, states = trained(tmp_path, members.seeds(0, 2))
  first, second = states["forest"].params["forest"]["threshold"]
  assert not np.array_equal(first, second)


@pytest.mark.parametrize("layer", ["concat", "mixed_7a"])
def test_weights_that_are_missing_are_named(layer, tmp_path, monkeypatch):
  monkeypatch.setenv("MEDAD_CACHE_DIR", str(tmp_path))
  method = deep_if.Method(layer=layer, side=75)
  with pytest.raises(
    Exception, match="inceptionresnetv2-520b38e4.pth.*--source=FILE"
  ):
    members.init_states(method.phases()[0], tiny.TRIALS, SHAPE)
