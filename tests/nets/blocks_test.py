"""The layers: two forms of one convolution, statistics of a split batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.nets import blocks

CONVOLUTIONS = [
  blocks.Conv4x4s2,
  blocks.ConvTranspose4x4s2,
  blocks.Conv3x3,
]


def rand(*shape, seed=0):
  return jnp.asarray(np.random.RandomState(seed).standard_normal(shape))


@pytest.fixture
def double():
  with jax.enable_x64(True):
    yield


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("layer", CONVOLUTIONS)
@pytest.mark.parametrize(
  ("sides", "channels", "features"),
  [
    ((6, 8), 1, 5),
    ((6, 8), 3, 2),
    ((6, 8), 5, 1),
    # As wide as Winograd's form wants it, with sides that do not and do fit.
    ((6, 8), 32, 3),
    ((8, 12), 32, 3),
    ((2, 4), 3, 32),
  ],
)
def test_forms_agree(layer, sides, channels, features):
  x = rand(2, *sides, channels)
  variables = layer(features).init(jax.random.key(0), x.astype(jnp.float32))
  variables = jax.tree.map(lambda leaf: leaf.astype(x.dtype), variables)

  def loss(form, variables, x):
    y = layer(features, form).apply(variables, x)
    return jnp.sum(jnp.sin(jnp.arange(y.size)).reshape(y.shape) * y**2), y

  results = [
    jax.jit(
      jax.value_and_grad(functools.partial(loss, form), (0, 1), has_aux=True)
    )(variables, x)
    for form in ("matmul", "lax")
  ]
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12),
    *results,
  )


@pytest.mark.parametrize("form", ["matmul", "lax"])
def test_convolution_halves_as_defined(form):
  x, layer = rand(1, 4, 6, 2), blocks.Conv4x4s2(3, form)
  variables = layer.init(jax.random.key(0), x)
  kernel = np.asarray(variables["params"]["kernel"])
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  y = layer.apply(variables, x)
  for i in range(2):
    for j in range(3):
      window = padded[0, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
      wanted = np.einsum("abi,abio->o", window, kernel)
      np.testing.assert_allclose(y[0, i, j], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["matmul", "lax"])
def test_transposed_convolution_doubles_as_defined(form):
  x, layer = rand(1, 3, 2, 4), blocks.ConvTranspose4x4s2(2, form)
  variables = layer.init(jax.random.key(0), x)
  kernel = np.asarray(variables["params"]["kernel"])
  wanted = np.zeros((8, 6, 2))  # with a border of one
  for i in range(3):
    for j in range(2):
      wanted[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum(
        "i,abio->abo", x[0, i, j], kernel
      )
  got = layer.apply(variables, x)[0]
  np.testing.assert_allclose(got, wanted[1:-1, 1:-1], rtol=1e-5, atol=1e-6)


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
