"""MADDR's constraint: which labels it reads, what it trains, on any mesh."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.engine import config, fields, members, program, train
from medad_jax.methods import _constraint, ae, dpa
from medad_jax.training import Length, Optimizer
from medad_jax.types import Axis, Phase, UserError
from tests import tiny
from tests.golden import cases
from tests.methods import contract_test as contract

LATENT = 6
MIXED = {"mix_from": 1, "mix_until": 3}
# Organs 0, 1, 1, 0, ... and modalities of unequal shares.
ORGANS = np.arange(sum(tiny.COUNTS.values()), dtype=np.int32) % 3 // 2
MODALITIES = np.arange(len(ORGANS), dtype=np.int32) % 5 // 4


def method(mode, **fields):
  return ae.Method(
    width=4,
    latent=LATENT,
    hidden=8,
    constraint=_constraint.Constraint(mode, **fields),
    length=Length(1, 8),
    optimizer=Optimizer(learning_rate=1e-3),
  )


@functools.cache
def steps(mode, mesh=(1, 1), organs="own"):
  """Losses of three steps, and the states before and after them."""
  (phase,) = method(mode, **MIXED).phases()
  organ = ORGANS if organs == "own" else 1 - ORGANS
  feed = tiny.feed().beside({"organ": organ, "modality": MODALITIES})
  ready = program.Program(
    phase,
    tiny.devices(*mesh).layout(1, 8),
    feed,
    train.make_order(phase, tiny.pools(), tiny.TRIALS),
    tiny.TRIALS,
    (0,),
    {},
    steps_per_call=3,
  )
  start = members.init_states(phase, tiny.TRIALS, tiny.SHAPE, {})
  before = jax.device_get((start.params, start.extra))
  (chunk,) = ready.chunks([(0, 3)])
  placed, metrics = ready.call(ready.place(start), ready.constants({}), chunk)
  after = ready.gather(placed, start)
  found = ready.metrics(metrics, 3)
  return found, before, jax.device_get((after.params, after.extra))


@pytest.mark.parametrize(
  "mode", [pytest.param("released", marks=pytest.mark.slow), "intended"]
)
def test_a_mesh_changes_nothing(mode):
  one, many = steps(mode)[0], steps(mode, (1, 4))[0]
  for name in ("loss", "focal_organ", "focal_modality", "center"):
    np.testing.assert_allclose(many[name], one[name], rtol=2e-4, err_msg=name)


def test_released_reads_the_modality_twice_and_trains_no_head():
  found, before, after = steps("released")
  jax.tree.map(
    np.testing.assert_array_equal, before[1]["heads"], after[1]["heads"]
  )
  assert "heads" not in after[0]["net"]
  other = steps("released", organs="other")[0]
  np.testing.assert_array_equal(other["loss"], found["loss"])


def test_intended_reads_both_and_trains_its_heads():
  found, before, after = steps("intended")
  moved = jax.tree.map(
    lambda x, y: not np.array_equal(x, y),
    before[0]["net"]["heads"],
    after[0]["net"]["heads"],
  )
  assert all(jax.tree.leaves(moved))
  other = steps("intended", organs="other")[0]
  assert not np.isclose(other["focal_organ"][0], found["focal_organ"][0])
  np.testing.assert_array_equal(
    other["focal_modality"][0], found["focal_modality"][0]
  )


def batch():
  images = jnp.asarray(tiny.images(8, 1) / 127.5 - 1, jnp.float32)
  labels = {"organ": jnp.asarray(ORGANS[:8])}
  labels["modality"] = jnp.asarray(MODALITIES[:8])
  return {**cases.batch_of(images), **labels}


def test_images_are_mixed_within_the_window_alone():
  constraint = _constraint.Constraint("intended", **MIXED)
  for step, inside in ((0, False), (1, True), (2, True), (3, False)):
    context = dataclasses.replace(cases.CONTEXT, step=jnp.int32(step))
    given, mixed = batch(), constraint.mixed(batch(), context)
    same = np.array_equal(mixed["image"], given["image"])
    assert same is not inside
    assert (float(mixed["share"]) == 1.0) is not inside


def test_a_mixed_loss_is_the_mixture_of_both_orders():
  constraint = _constraint.Constraint("intended")
  given = batch()
  order = jnp.arange(8)[::-1]
  other = {name: given[name][order] for name in ("image", "organ", "modality")}
  mixed = _constraint.mix(given, other, jnp.float32(0.3))
  code = jax.random.normal(jax.random.key(0), (8, LATENT))
  params, extra = constraint.init(lambda *_: ({"net": {}}, {}), LATENT)(
    jax.random.key(1), None
  )

  def focal(labels):
    _, parts = constraint.term(params, extra, code, labels, Axis())
    return parts["focal_organ"]

  wanted = 0.3 * focal(given) + 0.7 * focal({**given, **other})
  np.testing.assert_allclose(focal(mixed), wanted, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classes_weigh_as_published_or_equally(classes):
  logits = jax.random.normal(jax.random.key(0), (9, classes))
  label = jnp.arange(9) % classes
  p = np.asarray(jax.nn.softmax(logits))[np.arange(9), label]
  alpha = np.array([0.25, 0.75] if classes == 2 else [1 / classes] * classes)
  wanted = -alpha[label] * (1 - p) ** 2 * np.log(p)
  np.testing.assert_allclose(_constraint.focal(logits, label), wanted, 1e-5)


def test_weights_of_zero_leave_the_plain_loss():
  given = batch()
  losses = []
  for weights in ({}, {"head_weight": 0.0, "center_weight": 0.0}):
    mode = "intended" if weights else "off"
    one = method(mode, **weights)
    (phase,) = one.phases()
    params, extra = phase.init(jax.random.key(0), tiny.SHAPE)
    loss, _ = one.loss(params, extra, given, cases.CONTEXT)
    losses.append(float(loss))
  assert losses[0] == losses[1]


# A room of six numbers is enough for the heads' shares and a center.
ROOM = {
  "memae_2d": {"model.channels": (4, LATENT)},
  "dpa": {
    "model.latent": LATENT,
    "model.l1_weight": 0.1,
    "growth.sides": (),
    "growth.layers": (),
  },
}
CODED = [n for n in fields.method_names() if "constraint" in config.defaults(n)]


def heads_of(name, **widths):
  """Shapes of the heads in the method's phase that trains the code."""
  method = config.build_method(
    config.with_hyper(
      contract.small_config(name),
      {"constraint.mode": "intended"}
      | ROOM.get(name, {"model.latent": LATENT})
      | {f"constraint.{key}": value for key, value in widths.items()},
    )
  )
  (phase,) = (
    phase
    for phase in method.phases()
    if isinstance(phase, Phase) and phase.inputs.columns
  )
  init = functools.partial(phase.init, image_shape=tiny.SHAPE)
  params, _ = jax.eval_shape(init, jax.random.key(0))
  return params["net"]["heads"]


@pytest.mark.parametrize("name", CODED)
def test_one_field_attaches_it_and_a_code_without_room_is_refused(name):
  heads = heads_of(name)
  assert {k: v["kernel"].shape for k, v in heads.items()} == {
    "organ": (1, 2),
    "modality": (1, 2),
  }
  with pytest.raises(UserError, match="a code of 6 numbers leaves 1 beside"):
    heads_of(name, organ_width=3, modality_width=2)


def test_every_reconstruction_with_a_code_has_it():
  coded = {
    name
    for name in fields.method_names()
    if "latent" in config.defaults(name).get("model", {})
  }
  # The error of pixels is no term of its own in these games of two nets.
  assert coded - set(CODED) == {"piad", "ra"}
  assert set(CODED) - coded == {"memae_2d"}  # its code has channels


def test_a_window_without_a_step_is_refused():
  with pytest.raises(UserError, match="leave no step between them"):
    _constraint.Constraint("intended", mix_from=5, mix_until=5)


def test_dpa_needs_the_weight_that_the_constraint_is_in():
  on = _constraint.Constraint("intended")
  with pytest.raises(UserError, match="above 0"):
    dpa.Method(constraint=on)
