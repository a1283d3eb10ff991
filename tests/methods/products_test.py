"""Every product of every method states its precision, on every platform.

Without a statement XLA uses TensorFloat-32 on NVIDIA's GPUs and bfloat16 on
TPUs, so that one checkpoint scores differently on two machines.
"""

from collections import Counter
from collections.abc import Iterator
import dataclasses

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.engine import fit, members, scorer
from medad_jax.types import Context, Fit, Phase, TrainState
from tests import tiny
from tests.methods import contract_test as contract

PRODUCTS = ("dot_general", "conv_general_dilated")
HIGHEST = (lax.Precision.HIGHEST,) * 2
HIGH = (lax.Precision.HIGH,) * 2


def equations(jaxpr) -> Iterator:
  """All equations, those of inner programs and of all platforms too."""
  for equation in jaxpr.eqns:
    yield equation
    for value in equation.params.values():
      for inner in value if isinstance(value, tuple | list) else (value,):
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
          yield from equations(inner)


def products(jaxpr) -> Counter:
  """How many products there are of each type of numbers and precision."""
  return Counter(
    (equation.invars[0].aval.dtype.name, equation.params["precision"])
    for equation in equations(jaxpr)
    if equation.primitive.name in PRODUCTS
  )


def make_method(name: str, precision: str):
  method = contract.build(name)
  if name == "ddad":
    backbone = dataclasses.replace(method.backbone, precision=precision)
    return dataclasses.replace(method, backbone=backbone)
  if hasattr(method, "precision"):
    return dataclasses.replace(method, precision=precision)
  return method


def programs(name: str, precision: str) -> Iterator:
  """What is traced of a method: each stage's step or features, the scores."""
  method, states = make_method(name, precision), {}
  shape = contract.shape(name)
  rows = jnp.arange(8)
  images = jnp.zeros((8, *shape))
  batch = {"image": images, "source": images, "label": rows, "valid": rows >= 0}
  batch |= {"slot": rows, "id": rows, "copy": rows}
  who = {s.name: members.of_stage(s, tiny.TRIALS) for s in method.phases()}
  for stage in method.phases():
    reads = getattr(stage, "reads", ())
    earlier = {name: (who[name], states[name]) for name in reads}
    own = {name: one_of(states[name]) for name in reads}
    if isinstance(stage, Fit):
      yield jax.make_jaxpr(stage.features)(own, batch).jaxpr
      made = jax.eval_shape(stage.features, own, batch)
      states[stage.name] = estimated(stage, made)
      continue
    state = members.abstract_states(stage, tiny.TRIALS, shape, earlier)
    states[stage.name] = state.replace(opt={})
    if not isinstance(stage, Phase):
      continue
    if stage.inputs.prepare:
      batch |= stage.inputs.prepare(np.zeros((8, *shape), np.uint8))
    number = jax.ShapeDtypeStruct((), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    context = Context(
      key, number, number, number, own=own, ensemble=dict(states)
    )
    one = one_of(state)
    count = stage.inputs.batches
    given = jax.tree.map(lambda x, n=count: jnp.stack(n * [x]), batch)
    given = given if count > 1 else batch
    yield jax.make_jaxpr(stage.step)(one, given, context).jaxpr
    for monitor in stage.monitors.values():
      yield jax.make_jaxpr(monitor.values)(one, batch, key).jaxpr
  score = scorer.score_function(method, 1)
  yield jax.make_jaxpr(score)(states, batch).jaxpr


def one_of(state):
  """Shapes of the first member."""
  return jax.eval_shape(lambda xs: jax.tree.map(lambda x: x[0], xs), state)


def estimated(stage: Fit, made) -> TrainState:
  """An estimate from 16 images' made-up features of those shapes."""
  drawn = np.random.RandomState(0)

  def features(x):
    found = drawn.uniform(size=(16, *x.shape[1:])).astype(np.float32)
    return found / found.sum(-1, keepdims=True)  # some are probabilities

  seed = (0,) if stage.draws else ()
  spread = (fit.over(tiny.devices()),) if stage.spreads else ()
  seen = iter([jax.tree.map(features, made)])
  params = stage.estimate(seen, *seed, *spread)
  return TrainState(
    step=jnp.ones(1, jnp.int32),
    params=jax.tree.map(lambda x: jnp.asarray(x)[None], params),
    extra={},
    opt={},
    key=jax.random.split(jax.random.key(0), 1),
  )


def all_products(name: str, precision: str) -> Counter:
  return sum(map(products, programs(name, precision)), Counter())


@pytest.mark.parametrize("name", contract.METHODS)
def test_float32_is_float32_everywhere(name):
  found = all_products(name, "float32")
  assert found
  assert set(found) == {("float32", HIGHEST)}


# One network of each kind: DDAD's refinement, running statistics, no such
# statistics, library convolutions with synthetic anomalies.
KINDS = ("ddad", "vae", "dae", "nsa")


@pytest.mark.parametrize("name", KINDS)
def test_tensorfloat32_is_that_of_networks(name):
  """What is around them (noise, pasted anomalies) stays float32."""
  found = all_products(name, "tensorfloat32")
  assert set(found) <= {("float32", HIGH), ("float32", HIGHEST)}
  assert found["float32", HIGH] > found["float32", HIGHEST]
  around = {"dae", "nsa"}
  assert bool(found["float32", HIGHEST]) == (name in around)


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_is_that_of_networks(name):
  found = all_products(name, "bfloat16")
  assert {kind for kind, _ in found} <= {"bfloat16", "float32"}
  assert None not in {precision for _, precision in found}
  assert all(kind != "float32" or at == HIGHEST for kind, at in found)
  assert any(kind == "bfloat16" for kind, _ in found)
