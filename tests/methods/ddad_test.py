"""DDAD-ASR's phases, errors and the wiring of its scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import losses, rng, types
from medad_jax.augment.paste import paste
from medad_jax.methods import ae, aeu, ddad
from medad_jax.scoring import discrepancy
from medad_jax.training import Length, Optimizer
from tests.golden import cases

KEY = jax.random.key(0)
LENGTH = Length(epochs=1, batch_size=4)
METHOD = ddad.Method(
  backbone=aeu.Method(width=2, latent=3, hidden=5),
  ensemble=ddad.Ensemble(2),
  refine=ddad.Refine(("dual", "intra"), width=8, length=LENGTH),
)


@pytest.fixture(scope="module")
def batch():
  image = np.random.RandomState(0).standard_normal((4, 16, 16, 1))
  image = jnp.asarray(image, jnp.float32)
  return {**cases.batch_of(image), "source": image[::-1]}


def make(phase):
  """Parameters and running statistics of all members, in mid-training."""
  keys = jax.random.split(KEY, phase.members)
  init = jax.jit(jax.vmap(lambda key: phase.init(key, (16, 16, 1))))
  params, extra = init(keys)
  return params, jax.tree.map(lambda x: x - 0.3, extra)


def predict(states, batch):
  def one(params, extra):
    state = cases.state_of(params["net"], extra["net"])
    return METHOD.predict({"ensemble": state}, batch)

  return jax.jit(jax.vmap(one))(*states)


def test_phases():
  ensemble, dual, intra = METHOD.phases()
  names = [pool.name for pool in ensemble.pools]
  assert names == ["mixed", "mixed", "normal", "normal"]
  assert not ensemble.shared
  assert (dual.name, intra.name) == ("refine_dual", "refine_intra")
  for phase in (dual, intra):
    assert phase.shared
    assert phase.inputs.source
    assert phase.pools == (types.NORMAL,)
    assert phase.length is LENGTH


def test_no_refinement():
  for refine in (
    ddad.Refine(inputs=()),
    ddad.Refine(length=Length(0, 8)),
    ddad.Refine(length=Length(steps=0)),
  ):
    phases = ddad.Method(refine=refine).phases()
    assert [phase.name for phase in phases] == ["ensemble"]


def test_published_defaults():
  ensemble, refine = ddad.Method(backbone=ae.Method()).phases()
  assert ensemble.members == 6
  assert ensemble.length == Length(250, 64)
  assert ensemble.step.optimizer == Optimizer(learning_rate=5e-4, b1=0.5)
  assert refine.length == Length(100, 8)
  assert refine.step.optimizer == Optimizer(
    learning_rate=1e-4, b1=0.5, weight_decay=1e-4
  )


def test_impossible_values_are_refused():
  with pytest.raises(types.UserError, match="once"):
    ddad.Refine(("dual", "dual"))


def test_scores(batch):
  ensemble, dual, intra = METHOD.phases()
  preds = predict(make(ensemble), batch)
  scores = METHOD.score(preds, batch, {})
  assert scores.image.keys() == {"rec_0", "rec_1", "rec", "intra", "inter"}
  normative = {name: array[2:] for name, array in preds.items()}
  single = discrepancy.member_maps(batch["image"], normative).mean((2, 3))
  np.testing.assert_allclose(scores.image["rec_1"], single[1], rtol=1e-5)
  np.testing.assert_allclose(
    scores.reconstruction, preds["x_hat"][2:].mean(0), rtol=1e-5
  )


def test_refined_scores_take_channels_in_published_order(batch):
  ensemble, dual, _ = METHOD.phases()
  preds = predict(make(ensemble), batch)
  params, extra = make(dual)
  # A net that sees its first channel only.
  kernel = params["net"]["Conv3x3_0"]["kernel"]
  params["net"]["Conv3x3_0"]["kernel"] = kernel.at[..., 1, :].set(0)
  fitted = {"refine_dual": _shared(params, extra)}
  scores = METHOD.score(preds, batch, fitted)
  assert {"r_dual"} == scores.image.keys() & {"r_dual", "r_intra"}
  assert np.all((scores.maps["r_dual"] > 0) & (scores.maps["r_dual"] < 1))
  np.testing.assert_allclose(
    scores.image["r_dual"], scores.maps["r_dual"].mean((1, 2)), rtol=1e-5
  )
  scaled = {**preds, "x_hat": preds["x_hat"].at[2:].add(1)}  # moves inter only
  other = METHOD.score(scaled, batch, fitted)
  np.testing.assert_allclose(
    other.maps["intra"], scores.maps["intra"], rtol=1e-3
  )
  assert not np.allclose(other.maps["r_dual"], scores.maps["r_dual"])


def test_refinement_trains_on_pasted_images_with_frozen_teachers(batch):
  ensemble, dual, _ = METHOD.phases()
  teachers = make(ensemble)
  params, extra = (jax.tree.map(lambda x: x[0], tree) for tree in make(dual))

  def loss(params, teachers):
    context = types.Context(
      KEY,
      jnp.zeros((), jnp.int32),
      jnp.ones((), jnp.int32),
      jnp.ones((), jnp.int32),
      ensemble={"ensemble": _members(*teachers)},
    )
    return dual.step.loss(params, extra, batch, context)[0]

  value, (grads, none) = jax.jit(jax.value_and_grad(loss, (0, 1)))(
    params, teachers
  )
  assert np.isfinite(value)
  assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads))
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(none))
  _check_loss_by_hand(value, params, extra, teachers, batch)


def _check_loss_by_hand(value, params, extra, teachers, batch):
  keys = rng.per_example(rng.stream(KEY, "paste"), batch["slot"])
  image, mask = jax.vmap(paste)(keys, batch["image"], batch["source"])
  assert mask.any()
  preds = predict(teachers, {**batch, "image": image})
  found = METHOD.score(preds, {**batch, "image": image}, {}).maps
  stack = jnp.stack([found["inter"], found["intra"]], -1)
  logits, _ = ddad.RefineNet(METHOD.refine.width).apply(
    {"params": params["net"], "batch_stats": extra["net"]},
    stack,
    train=True,
    mutable=["batch_stats"],
  )
  wanted = np.mean(losses.focal(logits, mask))
  np.testing.assert_allclose(value, wanted, rtol=1e-4)


def _shared(params, extra):
  step, keys = jnp.zeros(1, jnp.int32), jax.random.split(KEY, 1)
  return types.TrainState(step, params, extra, None, keys)


def _members(params, extra):
  step, keys = jnp.zeros(4, jnp.int32), jax.random.split(KEY, 4)
  return types.TrainState(step, params, extra, None, keys)
