"""Winograd's form: fewer products, members apart, nearly all of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import blocks, strided, winograd

LAYERS = {
  "convolution": (blocks.Conv4x4s2(32), (3, 8, 12, 32)),
  "transposed": (blocks.ConvTranspose4x4s2(32), (3, 4, 6, 32)),
}


def rand(*shape, seed=0):
  return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def operations(name):
  """Floating-point operations of a layer of 64 channels and its gradients."""
  side = 16 if name == "convolution" else 8

  def loss(x, kernel):
    return jnp.sum(getattr(strided, name)(x, kernel) ** 2)

  shapes = (
    jax.ShapeDtypeStruct((8, side, side, 64), jnp.float32),
    jax.ShapeDtypeStruct((4, 4, 64, 64), jnp.float32),
  )
  lowered = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes)
  return lowered.compile().cost_analysis()["flops"]


@pytest.mark.parametrize("name", LAYERS)
def test_nine_products_take_the_place_of_sixteen(name, monkeypatch):
  fewer = operations(name)
  monkeypatch.setattr(strided, "_CHANNELS", 1000)
  # 9 / 16, and the windows at the border that the other form has besides.
  assert fewer < 0.6 * operations(name)


@pytest.mark.parametrize("name", LAYERS)
def test_members_are_computed_apart(name):
  layer, shape = LAYERS[name]
  xs, kernels = rand(2, *shape), rand(2, 4, 4, 32, 32, seed=1)

  def apply(x, kernel):
    return layer.apply({"params": {"kernel": kernel}}, x)

  together = jax.jit(jax.vmap(apply))(xs, kernels)
  for got, x, kernel in zip(together, xs, kernels, strict=True):
    wanted = jax.jit(apply)(x, kernel)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_less_than_a_digit_is_lost(name, monkeypatch):
  layer, shape = LAYERS[name]
  x, kernel = rand(*shape), rand(4, 4, 32, 32, seed=1)

  def apply(kind):
    params = {"kernel": jnp.asarray(kernel, kind)}
    return layer.apply({"params": params}, jnp.asarray(x, kind))

  with jax.enable_x64(True):
    wanted = np.asarray(apply(jnp.float64))

  def error():
    got = apply(jnp.float32)
    return np.sqrt(np.mean((np.asarray(got) - wanted) ** 2))

  by_winograd = error()
  monkeypatch.setattr(strided, "_CHANNELS", 1000)
  assert 0 < by_winograd < 5 * error()


def test_sixteen_bits_are_not_enough_for_its_differences(monkeypatch):
  def forbidden(x, kernel):
    raise AssertionError

  monkeypatch.setattr(winograd, "convolution", forbidden)
  x, kernel = jnp.asarray(rand(1, 8, 8, 32)), jnp.asarray(rand(4, 4, 32, 4))
  with pytest.raises(AssertionError):
    strided.convolution(x, kernel)
  half = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
  assert strided.convolution(*half).shape == (1, 4, 4, 4)
