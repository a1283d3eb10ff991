"""Networks compute in model.precision; everything kept stays float32."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.engine import config as configuration
from medad_jax.engine import members
from medad_jax.nets import blocks, unet
from medad_jax.types import Batch, Context, UserError
from tests import tiny

# A net of each kind: dense code, memory, random code, no batch statistics.
METHODS = ("ae", "memae", "vae", "dae")
MODEL = {"dae": {"width": 4, "levels": 3}}
NET = {"width": 4, "latent": 3, "hidden": 8}


def build(name: str, precision: str):
  fields = MODEL.get(name, NET) | {"precision": precision}
  small = {f"model.{k}": v for k, v in fields.items()}
  config = configuration.defaults(name)
  return configuration.build_method(configuration.with_hyper(config, small))


def batch() -> Batch:
  images = jnp.asarray(tiny.images(8), jnp.float32) / 127.5 - 1
  rows = jnp.arange(8)
  return Batch(
    image=images, label=-jnp.ones(8), valid=rows >= 0, slot=rows, id=rows
  )


def state_of(phase):
  states = members.init_states(phase, tiny.TRIALS, tiny.SHAPE)
  return jax.tree.map(lambda x: x[0], states)


def program(name: str, precision: str):
  """One step, traced and compiled on the first use."""
  (phase,) = build(name, precision).phases()

  @jax.jit
  def step(state):
    return phase.step(state, batch(), context_of(state))

  return step, state_of(phase)


def context_of(state) -> Context:
  return Context(state.key, state.step, *(2 * [jnp.int32(1)]))


def low_loss(name: str):
  """The loss in bfloat16, a function of the parameters; and these."""
  (phase,) = build(name, "bfloat16").phases()
  state = state_of(phase)
  context = context_of(state)

  def loss(params):
    return jnp.sum(phase.step.loss(params, state.extra, batch(), context)[0])

  return loss, state.params


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_near_that_of_float32(name):
  full, state = program(name, "float32")
  low, _ = program(name, "bfloat16")
  expected, found = full(state)[1]["loss"], low(state)[1]["loss"]
  assert found == pytest.approx(float(expected), rel=0.03)
  assert found != expected


def test_tensorfloat32_is_float32_where_there_is_none():
  """CPUs have no such units: the step is the same bit for bit."""
  full, state = program("ae", "float32")
  other, _ = program("ae", "tensorfloat32")
  jax.tree.map(
    np.testing.assert_array_equal, *map(values, (full(state), other(state)))
  )


def values(result):
  """A step's arrays, but for its key."""
  state, metrics = result
  return state.params, state.extra, state.opt, metrics


@pytest.mark.parametrize("name", METHODS)
def test_what_is_kept_stays_float32(name):
  low, state = program(name, "bfloat16")
  after, metrics = low(state)

  def check(path, x):
    if jnp.issubdtype(x.dtype, jnp.floating):
      assert x.dtype == jnp.float32, jax.tree_util.keystr(path)

  jax.tree_util.tree_map_with_path(check, (after, metrics))


@pytest.mark.parametrize("name", METHODS)
def test_products_are_in_bfloat16(name):
  loss, params = low_loss(name)
  text = str(jax.make_jaxpr(loss)(params))
  # DAE's noise is made by products outside of the net.
  kinds = ["conv_general_dilated"] + ["dot_general"] * (name != "dae")
  products = [
    line
    for line in text.splitlines()
    if any(f" = {kind}[" in line for kind in kinds)
  ]
  assert products
  assert all(":bf16[" in line for line in products), products


@pytest.mark.parametrize("name", METHODS)
def test_no_gradient_is_summed_in_bfloat16(name):
  """It would stop growing after a few hundred pixels."""
  loss, params = low_loss(name)
  text = str(jax.make_jaxpr(jax.grad(loss))(params))
  assert not re.findall(r":bf16\[.*\] = reduce_sum", text)


def test_the_gradient_of_a_bias_is_that_of_float32():
  x = jax.random.uniform(jax.random.key(0), (8, 32, 32, 3))
  for layer in (blocks.Dense(2), blocks.Conv3x3(2), unet.UpSample(2)):
    variables = layer.init(jax.random.key(1), x)

    def slope(kind, layer=layer, variables=variables):
      def loss(variables):
        low = jax.tree.map(lambda leaf: leaf.astype(kind), variables)
        return jnp.sum(layer.apply(low, x.astype(kind)).astype(jnp.float32))

      return jax.grad(loss)(variables)["params"]["bias"]

    # bfloat16 keeps eight bits of the 8,192 or 32,768 ones.
    np.testing.assert_allclose(
      slope(jnp.bfloat16), slope(jnp.float32), rtol=2**-8
    )


def test_statistics_are_not_rounded():
  """Sums over a batch of bfloat16 would lose a mean far from 0."""
  x = 100 + jax.random.normal(jax.random.key(0), (4096, 2))
  net = blocks.BatchNorm()
  variables = net.init(jax.random.key(0), x, train=False)
  _, new = net.apply(
    variables, x.astype(jnp.bfloat16), train=True, mutable=["batch_stats"]
  )
  rounded = np.asarray(x.astype(jnp.bfloat16), np.float64)
  np.testing.assert_allclose(
    new["batch_stats"]["mean"], 0.1 * rounded.mean(0), rtol=1e-5
  )
  assert new["batch_stats"]["var"].dtype == jnp.float32


def test_an_unknown_precision_is_one_sentence():
  with pytest.raises(UserError, match="precision='float16'"):
    build("ae", "float16")
