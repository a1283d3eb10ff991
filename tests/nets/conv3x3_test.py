"""3x3 convolutions: all forms give the numbers of XLA's convolution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import conv3x3, winograd3x3

FORMS = {"same": conv3x3.same, "valid": conv3x3.valid}
WIDE = 16


def rand(*shape, seed=0):
  return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def library(name, x, kernel):
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), name.upper(), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def trained(x, kernel):
  """What it puts out where its gradients are asked for."""
  return jax.vjp(conv3x3.same, x, kernel)[0]


@pytest.fixture
def double():
  with jax.enable_x64(True):
    yield


# Wide and of even sides goes by Winograd; a thin layer, as the refinement
# net's first and last, and odd sides do not.
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
  ("sides", "channels"),
  [
    ((6, 10), (16, 24)),
    ((6, 4), (16, 2)),
    ((4, 6), (3, 16)),
    ((5, 6), (16, 16)),
  ],
)
def test_numbers_and_gradients_are_those_of_the_library(name, sides, channels):
  x = jnp.asarray(rand(2, *sides, channels[0]), float)
  kernel = jnp.asarray(rand(3, 3, *channels, seed=1), float)
  y, pull = jax.vjp(FORMS[name], x, kernel)
  wanted, wanted_pull = jax.vjp(functools.partial(library, name), x, kernel)
  np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)
  dy = jnp.asarray(rand(*y.shape, seed=2), float)
  for found, expected in zip(pull(dy), wanted_pull(dy), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-11)


def operations(form):
  def loss(x, kernel):
    return jnp.sum(form(x, kernel) ** 2)

  shapes = (
    jax.ShapeDtypeStruct((8, 16, 16, 64), jnp.float32),
    jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32),
  )
  lowered = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes)
  return lowered.compile().cost_analysis()["flops"]


def test_sixteen_products_take_the_place_of_thirty_six(monkeypatch):
  fewer = operations(conv3x3.same)
  monkeypatch.setattr(conv3x3, "_CHANNELS", 1000)
  assert fewer < 0.55 * operations(conv3x3.same)


def test_without_gradients_memory_is_the_library_s():
  shapes = (
    jax.ShapeDtypeStruct((8, 16, 16, 64), jnp.float32),
    jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32),
  )

  def temporaries(form):
    compiled = jax.jit(form).lower(*shapes).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert 4 * temporaries(conv3x3.same) < temporaries(trained)


def test_members_are_computed_apart():
  xs, kernels = rand(2, 3, 6, 8, WIDE), rand(2, 3, 3, WIDE, WIDE, seed=1)
  together = jax.jit(jax.vmap(trained))(xs, kernels)
  for got, x, kernel in zip(together, xs, kernels, strict=True):
    wanted = jax.jit(trained)(x, kernel)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_no_digit_is_lost(monkeypatch):
  x, kernel = rand(2, 16, 16, 64), rand(3, 3, 64, 64, seed=1)
  with jax.enable_x64(True):
    wanted = library(
      "same", jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64)
    )
    wanted = np.asarray(wanted)

  def error():
    got = trained(jnp.asarray(x), jnp.asarray(kernel))
    return np.sqrt(np.mean((np.asarray(got) - wanted) ** 2))

  by_winograd = error()
  monkeypatch.setattr(conv3x3, "_CHANNELS", 1000)
  assert 0 < by_winograd < 2 * error()


def test_sixteen_bits_are_not_enough_for_its_differences(monkeypatch):
  def forbidden(x, kernel):
    raise AssertionError

  monkeypatch.setattr(winograd3x3, "convolution", forbidden)
  x = jnp.asarray(rand(1, 4, 4, WIDE))
  kernel = jnp.asarray(rand(3, 3, WIDE, WIDE))
  for form in FORMS.values():
    with pytest.raises(AssertionError):
      form(x, kernel)
    half = form(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
