"""PatchCore's bank and scores, computed again with NumPy and SciPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial

from medad_jax.data import index
from medad_jax.engine import fit, scorer
from medad_jax.methods import patchcore
from medad_jax.types import UserError
from tests import tiny
from tests.methods import contract_test as contract

METHOD = contract.build("patchcore")


@functools.cache
def features(images: str):
  """The net's features of the rows of a pool, or of new images."""
  states = contract.trained("patchcore")[0]
  own = {"features": jax.tree.map(lambda x: x[0], states["features"])}
  batch = {"image": jnp.asarray(pictures(images) / np.float32(127.5) - 1)}
  return jax.tree.map(np.asarray, METHOD.features(own, batch))


def pictures(images: str):
  if images == "new":
    return tiny.images(6, 1)
  return tiny.feed().images[tiny.pools()[images]]


def bank():
  params = contract.trained("patchcore")[0]["bank"].params
  return jax.tree.map(lambda x: np.asarray(x[0]), dict(params))


def by_hand(images: str):
  """ "knn", "patch_max" and "patch_mean" of images, side by side."""
  found = features(images)
  near, _ = spatial.KDTree(features("bank")["vector"]).query(
    found["vector"], METHOD.neighbors
  )
  patches = found["patches"].reshape(len(near), -1, patchcore.depth(found))
  far, _ = spatial.KDTree(bank()["coreset"]).query(patches)
  return np.stack([near.mean(1), far.max(1), far.mean(1)], 1)


def test_scores_are_distances_from_the_bank():
  found = contract.scores("patchcore", pictures("new"))
  for number, name in enumerate(("knn", "patch_max", "patch_mean")):
    wanted = by_hand("new")[:, number]
    np.testing.assert_allclose(found[name][:, 0], wanted, rtol=1e-4)


def test_the_headline_is_standardized_on_images_that_the_bank_lacks():
  assert METHOD.score_names[-1] == "combined"
  held = by_hand("standard")
  gaps = (by_hand("new") - held.mean(0)) / held.std(0, ddof=1)
  found = contract.scores("patchcore", pictures("new"))["combined"][:, 0]
  np.testing.assert_allclose(found, gaps.sum(1), rtol=1e-3, atol=1e-3)
  pools = tiny.pools()
  both = np.concatenate([pools["bank"], pools["standard"]])
  assert sorted(both) == sorted(pools[index.NORMAL])
  assert len(pools["standard"]) == 4


def test_the_coreset_is_of_the_banks_patches():
  patches = features("bank")["patches"]
  known = spatial.KDTree(patches.reshape(-1, patches.shape[-1]))
  gaps, _ = known.query(bank()["coreset"])
  assert len(gaps) == METHOD.coreset
  assert gaps.max() < 1e-4


def test_maps_show_what_the_headline_and_padim_saw():
  ready = scorer.Scorer(
    METHOD, contract.trained("patchcore")[0], 8, tiny.devices()
  )
  (_, found), *_ = ready.batches(pictures("new"))
  maps = found.scores.maps
  assert {k: v.shape for k, v in maps.items()} == {
    "padim": (8, 1, 16, 16),
    "combined": (8, 1, 16, 16),
  }
  mean = np.asarray(maps["combined"][:6, 0]).mean((1, 2))
  # Bilinear by a whole factor keeps the mean.
  np.testing.assert_allclose(mean, by_hand("new")[:, 2], rtol=1e-3)


def test_a_bank_of_fewer_images_than_neighbors_is_all_of_them():
  one = jax.tree.map(lambda x: x[:2], features("bank"))
  found = METHOD.fill(iter([one]), fit.over(tiny.devices()))
  assert found["vectors"].shape[0] == 2
  assert len(found["coreset"]) == min(
    METHOD.coreset, one["patches"][..., 0].size
  )


def test_too_few_images_are_refused():
  with pytest.raises(UserError, match="and that is 1; give more normal"):
    patchcore.standardization(iter([np.ones((1, 3))]))


def test_an_unknown_layer_is_refused():
  method = dataclasses.replace(METHOD, layers=("layer9",))
  with pytest.raises(UserError, match="no layer layer9; choose among stem"):
    method.init(jax.random.key(0), (16, 16, 1))
