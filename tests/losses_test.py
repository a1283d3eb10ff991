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
    losses.heteroscedastic_error(jnp.asarray(X), wrong, jnp.asarray(X))


@pytest.mark.parametrize("shape", [(2, 4, 1), (2, 1, 5), (1, 4, 5)])
def test_focal_refuses_a_target_that_would_broadcast(shape):
  with pytest.raises(Exception, match="do not fit|Type-check"):
    losses.focal(jnp.zeros((2, 4, 5, 2)), jnp.zeros(shape, bool))
