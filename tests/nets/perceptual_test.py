"""The perceptual distance against printed numbers and its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import perceptual, vgg
from tests.golden import synthetic_vgg

LAYER = "relu4_2"


@pytest.fixture(scope="module")
def features():
  """image -> relu4_2 of the VGG19 that the second reference was run with."""
  variables = synthetic_vgg.variables(synthetic_vgg.dpa, 2**0.5)
  net = vgg.VGG19()

  @jax.jit
  def apply(variables, image):
    return net.apply(variables, perceptual.preprocess(image))[LAYER]

  return functools.partial(apply, variables)


@pytest.mark.parametrize(
  ("shape", "expected"),
  [
    ((4, 1, 64, 64), [0.3126557, 0.2993437, 0.3233737, 0.3056162]),
    ((4, 3, 32, 32), [0.2900849, 0.286794, 0.2938633, 0.31009]),
  ],
)
def test_losses_of_the_reference(features, shape, expected):
  x = synthetic_vgg.images(synthetic_vgg.dpa, shape)
  x_hat = 0.5 * x + 0.5 * synthetic_vgg.images(synthetic_vgg.dpa, shape, 2000)
  stats = synthetic_vgg.statistics()
  got = perceptual.relative_l1(features(x), features(x_hat), *stats)
  assert got.shape == (4, shape[2] // 8, shape[3] // 8)
  np.testing.assert_allclose(got.mean((1, 2)), expected, rtol=2e-5)


def rand(*shape, seed=0):
  return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def test_preprocessing():
  gray = rand(2, 4, 5, 1)
  got = perceptual.preprocess(jnp.asarray(gray))
  rgb = (np.repeat(gray, 3, -1) + 1) / 2
  expected = (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
  again = perceptual.preprocess(jnp.repeat(jnp.asarray(gray), 3, -1))
  np.testing.assert_array_equal(got, again)
  with pytest.raises(ValueError, match="2 channels"):
    perceptual.preprocess(jnp.zeros((1, 4, 4, 2)))


def test_distance_as_defined():
  f, g = rand(2, 3, 4, 5), rand(2, 3, 4, 5, seed=1)
  mean, scale = rand(5, seed=2), np.abs(rand(5, seed=3)) + 1
  got = perceptual.relative_l1(*map(jnp.asarray, (f, g, mean, scale)))
  size = np.abs((f - mean) / scale).mean((1, 2, 3))
  expected = np.abs((f - g) / scale).mean(-1) / size[:, None, None]
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_the_size_is_a_constant_to_the_gradient():
  f, g = rand(1, 2, 2, 3), rand(1, 2, 2, 3, seed=1)
  zero, one = jnp.zeros(3), jnp.ones(3)

  def loss(f):
    return jnp.mean(perceptual.relative_l1(f, jnp.asarray(g), zero, one))

  expected = np.sign(f - g) / np.abs(f).mean() / f.size
  np.testing.assert_allclose(
    jax.grad(loss)(jnp.asarray(f)), expected, rtol=1e-5
  )


def test_upsampling():
  coarse = rand(2, 2, 3)
  fine = perceptual.upsample(jnp.asarray(coarse), (16, 24))
  # Centers of coarse pixels are 8 apart; beyond the outermost it is constant.
  position = (np.arange(16) + 0.5) / 8 - 0.5
  column = [np.interp(position, [0, 1], coarse[0, :, 0])]
  np.testing.assert_allclose(fine[0, :, 0], column[0], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
    fine.mean((1, 2)), coarse.mean((1, 2)), rtol=1e-4, atol=1e-6
  )
