"""Optimizers, rates and steps against the references' formulas and by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import steps
from medad_jax.training import Optimizer, Schedule
from medad_jax.types import Context, TrainState


def context(step, epoch_steps=1, epochs=1):
  return Context(
    jax.random.key(0), *map(jnp.int32, (step, epoch_steps, epochs))
  )


def rates(optimizer, epochs, epoch_steps, steps_):
  return np.array(
    [
      optimizer.learning_rate
      * steps.rate_factor(optimizer, context(s, epoch_steps, epochs))
      for s in steps_
    ]
  )


def with_schedule(rate, *args, **kwargs):
  return Optimizer(learning_rate=rate, schedule=Schedule(*args, **kwargs))


def test_a_rate_falls_on_half_a_cosine_by_epochs():
  optimizer = with_schedule(1e-3, "cosine", final_rate=1e-6)
  epochs = np.array([0, 1, 125, 249])
  expected = 1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * epochs / 250)) / 2
  np.testing.assert_allclose(
    rates(optimizer, 250, 16, epochs * 16), expected, 1e-5
  )
  # The last step of an epoch has the rate of its first.
  np.testing.assert_allclose(
    rates(optimizer, 250, 16, [16]), rates(optimizer, 250, 16, [31])
  )


def test_a_lagging_rate_stays_one_epoch_behind():
  optimizer = with_schedule(0.03, "cosine", final_rate=0.0, lag=1)
  found = rates(optimizer, 100, 256, [0, 256, 512, 99 * 256])
  np.testing.assert_allclose(found[:2], 0.03, 1e-6)
  np.testing.assert_allclose(
    found[2:], 0.015 * (1 + np.cos(np.pi * np.array([1, 98]) / 100)), 1e-4
  )
  np.testing.assert_allclose(found[3], 2.96e-5, 1e-2)


def test_a_rate_falls_by_steps():
  optimizer = with_schedule(1.0, "step", every=2, factor=0.5)
  found = rates(optimizer, 9, 10, [0, 19, 20, 39, 40])
  np.testing.assert_allclose(found, [1, 1, 0.5, 0.5, 0.25])


def test_a_rate_falls_at_given_epochs():
  optimizer = with_schedule(1.0, "multistep", at=(1, 3), factor=0.1)
  found = rates(optimizer, 9, 10, [9, 10, 29, 30, 80])
  np.testing.assert_allclose(found, [1, 0.1, 0.1, 0.01, 0.01], 1e-6)


# Gradients of three steps from x = 2, and torch.optim's formulas by hand.
GRADIENTS = (1.0, -3.0, 0.5)


def adam(o, x):
  first = second = 0.0
  for t, g in enumerate(GRADIENTS, 1):
    g += o.weight_decay * x
    first = o.b1 * first + (1 - o.b1) * g
    second = o.b2 * second + (1 - o.b2) * g * g
    root = np.sqrt(second / (1 - o.b2**t))
    x -= o.learning_rate * first / (1 - o.b1**t) / (root + o.eps)
  return x


def sgd(o, x):
  momentum = 0.0
  for g in GRADIENTS:
    momentum = o.momentum * momentum + g + o.weight_decay * x
    x -= o.learning_rate * momentum
  return x


def rmsprop(o, x):
  second = momentum = 0.0
  for g in GRADIENTS:
    g += o.weight_decay * x
    second = o.b2 * second + (1 - o.b2) * g * g
    momentum = o.momentum * momentum + g / (np.sqrt(second) + o.eps)
    x -= o.learning_rate * momentum
  return x


def tf_adam(o, x):
  first = second = 0.0
  for t, g in enumerate(GRADIENTS, 1):
    g += o.weight_decay * x
    first = o.b1 * first + (1 - o.b1) * g
    second = o.b2 * second + (1 - o.b2) * g * g
    rate = o.learning_rate * np.sqrt(1 - o.b2**t) / (1 - o.b1**t)
    x -= rate * first / (np.sqrt(second) + o.eps)
  return x


def tf_rmsprop(o, x):
  second, momentum = 1.0, 0.0
  for g in GRADIENTS:
    g += o.weight_decay * x
    second = o.b2 * second + (1 - o.b2) * g * g
    step = o.learning_rate * g / np.sqrt(second + o.eps)
    momentum = o.momentum * momentum + step
    x -= momentum
  return x


@pytest.mark.parametrize("formula", [adam, sgd, rmsprop, tf_adam, tf_rmsprop])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_an_optimizer_is_that_of_the_references(formula, decay):
  optimizer = Optimizer(
    formula.__name__, 0.1, b1=0.5, b2=0.9, eps=1e-2, weight_decay=decay
  )
  transformation = steps.transformation(optimizer)
  params = jnp.asarray(2.0)
  state = transformation.init(params)
  for gradient in GRADIENTS:
    update, state = transformation.update(jnp.asarray(gradient), state, params)
    params += update
  np.testing.assert_allclose(params, formula(optimizer, 2.0), 1e-5)


def toy_loss(target, other, sign=1.0):
  """(own - target)^2 plus a product with another part, of a mean image."""

  def loss(params, extra, batch, context, handed):
    del handed
    own = params[target]
    value = sign * jnp.mean(batch["image"]) * own * params[other] + own**2
    extra = {"seen": extra["seen"] + 1.0}
    return value, (extra, {}, jax.lax.stop_gradient(own))

  return loss


def toy_state(step):
  params = {"a": jnp.asarray(1.0), "b": jnp.asarray(-2.0)}
  return TrainState(
    jnp.int32(0),
    params,
    {"seen": jnp.zeros(())},
    step.start(params),
    jax.random.key(0),
  )


def sgd_of(rate):
  return Optimizer("sgd", rate, momentum=0.0)


def test_parts_move_in_turn_and_see_those_moved_before():
  step = steps.Alternate(
    (
      steps.Turn("a", toy_loss("a", "b"), sgd_of(0.1)),
      steps.Turn("b", toy_loss("b", "a", -1.0), sgd_of(0.01)),
    )
  )
  state, a, b = toy_state(step), 1.0, -2.0
  for mean in (0.5, -0.25):
    batch = {"image": jnp.full((2, 1, 1, 1), mean)}
    state, metrics = step(state, batch, context(0))
    before = mean * a * b + a * a
    a -= 0.1 * (mean * b + 2 * a)
    second = -mean * b * a + b * b
    b -= 0.01 * (-mean * a + 2 * b)
    np.testing.assert_allclose(metrics["loss"], before + second, 1e-5)
  np.testing.assert_allclose(state.params["a"], a, 1e-6)
  np.testing.assert_allclose(state.params["b"], b, 1e-6)
  assert state.step == 2 and state.extra["seen"] == 4


def test_a_turn_hands_on_to_the_next():
  seen = []

  def second(params, extra, batch, context, handed):
    seen.append(handed)
    return params["b"] ** 2, (extra, {}, None)

  step = steps.Alternate(
    (
      steps.Turn("a", toy_loss("a", "b"), sgd_of(0.1)),
      steps.Turn("b", second, sgd_of(0.1)),
    )
  )
  step(toy_state(step), {"image": jnp.ones((2, 1, 1, 1))}, context(0))
  assert float(seen[0]) == 1.0  # before its own update


def test_a_critic_learns_from_fresh_batches_before_its_opponent():
  step = steps.Critic(
    (steps.Turn("a", toy_loss("a", "b"), sgd_of(0.1)),),
    (steps.Turn("b", toy_loss("b", "a"), sgd_of(0.01)),),
    batches=2,
  )
  means = np.array([0.5, -0.25, 2.0])
  batch = {"image": jnp.asarray(means)[:, None, None, None, None]}
  state, _ = step(toy_state(step), batch, context(0))
  a, b = 1.0, -2.0
  for mean in means[:2]:
    a -= 0.1 * (mean * b + 2 * a)
  b -= 0.01 * (means[2] * a + 2 * b)
  np.testing.assert_allclose(state.params["a"], a, 1e-6)
  np.testing.assert_allclose(state.params["b"], b, 1e-6)


def test_what_comes_after_a_step_sees_its_metrics():
  def after(params, extra, context, metrics):
    return params, {"seen": metrics["loss"]}

  def loss(params, extra, batch, context):
    return params["a"] ** 2 + 2.0, (extra, {})

  step = steps.Descend(loss, sgd_of(0.1), after)
  state, _ = step(toy_state(step), {}, context(0))
  assert state.extra["seen"] == 3.0


def test_a_rate_may_be_a_number_of_the_member():
  def loss(params, extra, batch, context):
    return params["a"] ** 2, (extra, {})

  def one(rate):
    optimizer = dataclasses.replace(Optimizer(), learning_rate=rate)
    step = steps.Descend(loss, optimizer)
    return step(toy_state(step), {}, context(0))[0].params["a"]

  found = jax.vmap(one)(jnp.array([0.1, 0.01]))
  np.testing.assert_allclose(found, [0.9, 0.99], 1e-5)
