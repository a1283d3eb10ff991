"""The layers: initial values, statistics of a split batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.nets import blocks


def rand(*shape, seed=0):
  return jnp.asarray(np.random.RandomState(seed).standard_normal(shape))


@pytest.mark.parametrize(
  ("layer", "shape", "fan_in"),
  [
    (blocks.Dense(500), (1, 100), 100),
    (blocks.Conv4x4s2(300), (1, 4, 4, 10), 160),
    (blocks.ConvTranspose4x4s2(10), (1, 4, 4, 300), 160),
    (blocks.Conv3x3(300), (1, 4, 4, 10), 90),
  ],
)
def test_initial_values_fill_their_range(layer, shape, fan_in):
  params = jax.jit(layer.init)(jax.random.key(0), jnp.zeros(shape))["params"]
  for value in jax.tree.leaves(params):
    size = np.abs(value).max() * np.sqrt(fan_in)
    assert 0.97 < size <= 1
    assert abs(np.mean(value)) * np.sqrt(fan_in) < 0.1


def test_batch_norm_normalizes_and_remembers():
  x = 3 + 2 * rand(8, 5)
  layer = blocks.BatchNorm()
  variables = layer.init(jax.random.key(0), x, train=True)
  y, new = layer.apply(variables, x, train=True, mutable=["batch_stats"])
  wanted = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
  np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
  stats = new["batch_stats"]
  np.testing.assert_allclose(stats["mean"], 0.1 * x.mean(0), rtol=1e-5)
  unbiased = np.asarray(x).var(0, ddof=1)
  np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)
  y = layer.apply({**variables, **new}, x, train=False)
  wanted = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
  np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)


def test_batch_norm_keeps_the_variance_of_a_nearly_constant_channel():
  x = 1000 + jnp.asarray([[0.0], [0.25], [0.5], [0.75]])
  layer = blocks.BatchNorm()
  variables = layer.init(jax.random.key(0), x, train=True)
  y, _ = layer.apply(variables, x, train=True, mutable=["batch_stats"])
  np.testing.assert_allclose(np.var(y), 1, rtol=1e-3)


def test_batch_norm_of_a_split_batch_is_that_of_the_whole():
  x = rand(8, 3, 3, 5).astype(jnp.float32)

  def step(axis, params, stats, x):
    def loss(params):
      y, new = blocks.BatchNorm(axis).apply(
        {"params": params, "batch_stats": stats},
        x,
        train=True,
        mutable=["batch_stats"],
      )
      return jnp.mean(jnp.sin(3 * y) * (1 + x)), new

    (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return axis.mean((value, grads)), new

  variables = blocks.BatchNorm().init(jax.random.key(0), x, train=True)
  args = variables["params"], variables["batch_stats"]
  whole = step(types.Axis(), *args, x)
  split = jax.vmap(
    functools.partial(step, types.Axis("batch", 2), *args), axis_name="batch"
  )(x.reshape(2, 4, 3, 3, 5))
  for part in range(2):
    jax.tree.map(
      lambda a, b, part=part: np.testing.assert_allclose(
        a, b[part], rtol=1e-5, atol=1e-7
      ),
      whole,
      split,
    )


def test_batch_norm_refuses_a_batch_of_one():
  layer = blocks.BatchNorm()
  with pytest.raises(types.UserError, match="batch_size=1"):
    layer.apply(
      layer.init(jax.random.key(0), jnp.zeros((1, 4)), train=False),
      jnp.zeros((1, 4)),
      train=True,
      mutable=["batch_stats"],
    )
