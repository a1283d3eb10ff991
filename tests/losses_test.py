"""Losses against NumPy written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import losses

RNG = np.random.RandomState(0)
X, X_HAT, LOG_VAR = RNG.standard_normal((3, 2, 4, 5, 3)).astype(np.float32)


def test_squared_error():
  got = losses.squared_error(jnp.asarray(X_HAT), jnp.asarray(X))
  np.testing.assert_allclose(got, ((X - X_HAT) ** 2).mean((1, 2, 3)), rtol=1e-5)


def test_heteroscedastic_error():
  got = losses.heteroscedastic_error(*map(jnp.asarray, (X_HAT, LOG_VAR, X)))
  wanted = ((X - X_HAT) ** 2 / np.exp(LOG_VAR) + LOG_VAR).mean((1, 2, 3))
  np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_entropy_of_uniform_and_certain_attention():
  attention = jnp.asarray(np.stack([np.full(25, 1 / 25), np.eye(25)[3]]))
  got = losses.attention_entropy(attention.astype(jnp.float32))
  np.testing.assert_allclose(got, [np.log(25), 0], rtol=1e-5, atol=1e-6)


def test_binary_cross_entropy_is_that_of_the_sigmoid():
  logits = 8 * RNG.standard_normal((2, 4, 5))
  target = RNG.rand(2, 4, 5)
  target[0] = target[0] > 0.5
  p = 1 / (1 + np.exp(-logits))
  wanted = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean((1, 2))
  got = losses.binary_cross_entropy(
    *(jnp.asarray(x, jnp.float32) for x in (logits, target))
  )
  np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_binary_cross_entropy_ends_at_100():
  logits = jnp.asarray([[-1e4, 1e4], [1e4, 50.0]])
  target = jnp.asarray([[1.0, 1.0], [0.5, 0.0]])
  call = jax.value_and_grad(lambda x: losses.binary_cross_entropy(x, target)[1])
  np.testing.assert_allclose(
    losses.binary_cross_entropy(logits, target), [50, 50]
  )
  np.testing.assert_allclose(call(logits)[1], [[0, 0], [0, 0.5]], atol=1e-6)


def test_cross_entropy():
  logits = RNG.standard_normal((4, 3)).astype(np.float32)
  label = np.array([0, 2, 1, 2])
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  got = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(label))
  np.testing.assert_allclose(got, -np.log(p[np.arange(4), label]), rtol=1e-5)
  sure = losses.cross_entropy(jnp.asarray([[1e4, -1e4]]), jnp.asarray([1]))
  np.testing.assert_allclose(sure, [2e4])


def test_focal_is_the_official_clamped_form():
  logits = 5 * RNG.standard_normal((2, 4, 5, 2)).astype(np.float32)
  target = RNG.rand(2, 4, 5) > 0.5
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  one_hot = np.clip(np.eye(2)[target.astype(int)], 1e-5, 1 - 1e-5)
  p = (one_hot * p).sum(-1) + 1e-5
  wanted = (-((1 - p) ** 2) * np.log(p)).mean((1, 2))
  got = losses.focal(jnp.asarray(logits), jnp.asarray(target))
  np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_focal_is_finite_where_the_net_is_sure():
  logits = jnp.asarray([[[[200.0, -200.0], [-200.0, 200.0]]]])
  target = jnp.asarray([[[False, False]]])
  value, grad = jax.value_and_grad(lambda x: losses.focal(x, target).sum())(
    logits
  )
  np.testing.assert_allclose(value, -np.log(2e-5) / 2, rtol=1e-3)
  assert np.isfinite(grad).all()


@pytest.mark.parametrize("shape", [(2, 4, 5, 1), (2, 1, 1, 3), (1, 4, 5, 3)])
def test_shapes_that_would_broadcast_are_refused(shape):
  wrong = jnp.zeros(shape)
  with pytest.raises(Exception, match="differ|Type-check"):
    losses.squared_error(wrong, jnp.asarray(X))
  with pytest.raises(Exception, match="differ|Type-check"):
    losses.binary_cross_entropy(wrong, jnp.asarray(X))
  with pytest.raises(Exception, match="differ|Type-check"):
    losses.heteroscedastic_error(jnp.asarray(X), wrong, jnp.asarray(X))


@pytest.mark.parametrize("shape", [(2, 4, 1), (2, 1, 5), (1, 4, 5)])
def test_focal_refuses_a_target_that_would_broadcast(shape):
  with pytest.raises(Exception, match="do not fit|Type-check"):
    losses.focal(jnp.zeros((2, 4, 5, 2)), jnp.zeros(shape, bool))


def test_embeddings_by_definition():
  rng = np.random.RandomState(0)
  shapes = ((2, 3, 4), (2, 5))
  found, wanted = (
    [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    for _ in range(2)
  )
  expected = np.zeros(2)
  for e, other in zip(found, wanted, strict=True):
    for row, (a, b) in enumerate(zip(e, other, strict=True)):
      a, b = a.ravel(), b.ravel()
      cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
      expected[row] += np.mean((a - b) ** 2) / 2 + 1 - cosine
  found, wanted = (list(map(jnp.asarray, each)) for each in (found, wanted))
  got = losses.embedding_distance(found, wanted)
  np.testing.assert_allclose(got, expected, rtol=1e-6)
  same = losses.embedding_distance(found, found)
  np.testing.assert_allclose(same, 0, atol=1e-6)


def test_the_gradient_of_an_empty_embedding_is_finite():
  zero = jnp.zeros((1, 4))
  gradient = jax.grad(lambda x: losses.embedding_distance([x], [zero])[0])(zero)
  assert jnp.isfinite(gradient).all()
