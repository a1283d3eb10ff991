"""The optimizers and their rates against the formulas of the references."""

import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.engine import optim
from medad_jax.types import Training, UserError


def rates(training, epoch_steps, steps):
  return np.array(
    [
      training.learning_rate
      * optim.rate_factor(training, jnp.int32(s), jnp.int32(epoch_steps))
      for s in steps
    ]
  )


def test_a_rate_falls_on_half_a_cosine_by_epochs():
  training = Training(250, 64, 1e-3, final_rate=1e-6)
  epochs = np.array([0, 1, 125, 249])
  expected = 1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * epochs / 250)) / 2
  np.testing.assert_allclose(rates(training, 16, epochs * 16), expected, 1e-5)
  # The last step of an epoch has the rate of its first.
  np.testing.assert_allclose(
    rates(training, 16, [16]), rates(training, 16, [31])
  )


def test_a_lagging_rate_stays_one_epoch_behind():
  training = Training(100, 64, 0.03, final_rate=0.0, rate_lag=1)
  found = rates(training, 256, [0, 256, 512, 99 * 256])
  np.testing.assert_allclose(found[:2], 0.03, 1e-6)
  np.testing.assert_allclose(
    found[2:], 0.015 * (1 + np.cos(np.pi * np.array([1, 98]) / 100)), 1e-4
  )
  np.testing.assert_allclose(found[3], 2.96e-5, 1e-2)


def test_sgd_adds_decay_to_the_gradient_and_keeps_momentum():
  training = Training(1, 1, 0.1, optimizer="sgd", b1=0.9, weight_decay=0.5)
  optimizer = optim.make(training)
  x, momentum = 2.0, 0.0
  params, state = jnp.asarray(x), optimizer.init(jnp.asarray(x))
  for gradient in (1.0, -3.0, 0.5):
    momentum = 0.9 * momentum + gradient + 0.5 * x
    x -= 0.1 * momentum
    update, state = optimizer.update(jnp.asarray(gradient), state, params)
    params += update
    np.testing.assert_allclose(params, x, 1e-6)


def test_an_unknown_optimizer_is_named():
  with pytest.raises(UserError, match="'lion' is none of adam, sgd"):
    optim.make(Training(1, 1, 0.1, optimizer="lion"))
