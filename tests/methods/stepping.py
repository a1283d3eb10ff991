"""The engine's own training step, from given parameters, on one batch.

Whatever the golden tests know of how the engine takes a step is in this file.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from medad_jax import steps, types
from medad_jax.training import Length, Optimizer
from tests.golden import cases

_EPOCH_STEPS = 1000  # no test ends an epoch


class Descent(NamedTuple):
  """Some optimizer steps on one batch.

  Attributes:
    losses: before each step.
    metrics: of each step, by name; the loss is one of them.
    grads: the first step's gradient, by part.
    first_extra: after the first step, by part.
    params: after the last step, by part.
    extra: after the last step, by part.
  """

  losses: list[float]
  metrics: list[dict[str, float]]
  grads: Any
  first_extra: Any
  params: Any
  extra: Any


class Stepper:
  """The engine's step of a phase, compiled once for all that look alike.

  With `optimized` compiling takes longer, and large float64 steps much less.
  """

  def __init__(self, phase: types.Phase, optimized: bool = False):
    self._phase = phase
    options = {"xla_backend_optimization_level": 1} if optimized else None
    self._step = jax.jit(self._take, compiler_options=options)

  def descend(
    self,
    params: Any,
    extra: Any,
    batch: types.Batch,
    count: int,
    own: Any = None,
  ) -> Descent:
    """Takes `count` steps on a batch, from `params` and `extra` by part.

    `own` has the states of earlier stages, as in `types.Context`.
    """
    params, extra = jax.tree.map(jnp.asarray, (params, extra))
    state = types.TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      extra=extra,
      opt=self._phase.step.start(params),
      key=jax.random.key(0),
    )
    kinds = jax.tree.map(lambda x: x.dtype, (params, extra))
    rows, first = [], None
    for _ in range(count):
      state, metrics = self._step(state, batch, own or {})
      rows.append({name: float(value) for name, value in metrics.items()})
      if first is None:
        first = self._first_gradient(state.opt, params), state.extra
    after = jax.tree.map(lambda x: x.dtype, (state.params, state.extra))
    assert after == kinds, "a step changed the type of a parameter or statistic"
    values = [row["loss"] for row in rows]
    return Descent(values, rows, *first, state.params, state.extra)

  def _take(self, state, batch, own):
    context = types.Context(
      key=jax.random.fold_in(state.key, state.step),
      step=state.step,
      epoch_steps=jnp.int32(_EPOCH_STEPS),
      epochs=jnp.int32(1),
      own=own,
    )
    return self._phase.step(state, batch, context)

  def _first_gradient(self, opt, params):
    """The gradient that the optimizer got, from its moment after one step."""
    step = self._phase.step
    if isinstance(step, steps.Alternate):
      return {
        turn.part: _gradient(turn.optimizer, opt[turn.part], params[turn.part])
        for turn in step.turns
      }
    return _gradient(step.optimizer, opt, params)


def _gradient(optimizer: Optimizer, opt: Any, params: Any) -> Any:
  if optimizer.algorithm == "sgd":
    moment = optax.tree_utils.tree_get(opt, "trace")
  else:
    moment = optax.tree_utils.tree_get(opt, "mu")
    moment = jax.tree.map(lambda m: m / (1 - optimizer.b1), moment)
  decay = optimizer.weight_decay
  return jax.tree.map(lambda m, p: m - decay * p, moment, params)


def of_method(method: Any, optimizer: Optimizer) -> Stepper:
  """The step of a method's last phase, with this optimizer."""
  return Stepper(dataclasses.replace(method, optimizer=optimizer).phases()[-1])


def of_loss(loss: types.Loss, optimizer: Optimizer) -> Stepper:
  """The step by a loss, for methods whose own one begins with random draws."""

  def no_init(key, image_shape):
    raise NotImplementedError

  step = steps.Descend(loss, optimizer)
  pools = (types.NORMAL,)
  return Stepper(types.Phase("train", Length(), pools, no_init, step))


def descend(
  loss: Callable, params: Any, extra: Any, optimizer: Optimizer, count: int
) -> Descent:
  """Steps by a loss of (params, extra) alone."""
  stepper = of_loss(lambda params, extra, *_: loss(params, extra), optimizer)
  return stepper.descend(params, extra, {}, count)


def descend_net(
  loss: Callable, params: Any, extra: Any, optimizer: Optimizer, count: int
) -> tuple[list[float], Any, tuple[Any, Any]]:
  """`descend` of a method with one net: losses, gradient, (params, extra)."""
  done = descend(loss, {"net": params}, {"net": extra}, optimizer, count)
  return done.losses, done.grads["net"], (done.params["net"], done.extra["net"])


def method_loss(method: Any, image: jax.Array) -> Callable:
  """(params, extra) -> loss, (extra, metrics) of a method on these images."""
  return lambda params, extra: method.loss(
    params, extra, cases.batch_of(image), cases.CONTEXT
  )
