"""Optimisers and the gradient step of one member."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import optax

from medad_jax import rng
from medad_jax.types import (
  Axis,
  Batch,
  Context,
  Phase,
  Training,
  TrainState,
  UserError,
)


def make(training: Training) -> optax.GradientTransformation:
  """The optimizer as the references use it: clip, then L2, then Adam or SGD.

  The L2 term is added to the gradient before the moments, for all parameters
  (`weight_decay` of torch.optim), which is not AdamW. The rate is that of the
  first epoch; `rate_factor` is its fall.

  Raises:
    UserError: there is no such optimizer.
  """
  kinds = {
    "adam": lambda: optax.scale_by_adam(training.b1, training.b2),
    "sgd": lambda: optax.trace(training.b1),
  }
  if training.optimizer not in kinds:
    raise UserError(
      f"optimizer='{training.optimizer}' is none of {', '.join(kinds)}; choose"
      " one."
    )
  parts = []
  if training.grad_clip is not None:
    parts.append(optax.clip_by_global_norm(training.grad_clip))
  if training.weight_decay:
    parts.append(optax.add_decayed_weights(training.weight_decay))
  parts.append(kinds[training.optimizer]())
  parts.append(optax.scale_by_learning_rate(training.learning_rate))
  return optax.chain(*parts)


def rate_factor(
  training: Training, step: Int[Array, ""], epoch_steps: Int[Array, ""]
) -> Float[Array, ""]:
  """The learning rate of a step, relative to the first epoch's."""
  if training.final_rate is None:
    return jnp.ones(())
  epoch = jnp.maximum(step // epoch_steps - training.rate_lag, 0)
  last = training.final_rate / training.learning_rate
  cosine = jnp.cos(jnp.pi * epoch / training.epochs)
  return last + (1 - last) * (1 + cosine) / 2


def init_state(
  phase: Phase, key: jax.Array, shape: tuple[int, int, int]
) -> TrainState:
  """A member's state before its first step; `shape` is that of an image."""
  params, extra = phase.init(rng.stream(key, "init"), shape)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    extra=extra,
    opt=make(phase.training).init(params),
    key=rng.stream(key, "train"),
  )


def gradient_step(
  phase: Phase, axis: Axis
) -> Callable[[TrainState, Batch, Any, jax.Array], tuple[TrainState, dict]]:
  """One member's optimiser step on its part of the batch.

  Args:
    phase: gives the loss and the optimiser.
    axis: where the batch is split; gradients and metrics are averaged over it.

  Returns:
    (state, batch, frozen, epoch_steps) -> (state, metrics); metrics hold
    `loss` too.
  """
  optimizer = make(phase.training)

  def step(state: TrainState, batch: Batch, frozen: Any, epoch_steps):
    context = Context(
      key=jax.random.fold_in(state.key, state.step),
      step=state.step,
      epoch_steps=epoch_steps,
      axis=axis,
      frozen=frozen,
    )
    value_and_grad = jax.value_and_grad(phase.loss, has_aux=True)
    (loss, (extra, metrics)), grads = value_and_grad(
      state.params, state.extra, batch, context
    )
    grads, metrics = axis.mean((grads, {"loss": loss, **metrics}))
    updates, opt = optimizer.update(grads, state.opt, state.params)
    if phase.training.final_rate is not None:
      factor = rate_factor(phase.training, state.step, epoch_steps)
      updates = jax.tree.map(lambda x: factor * x, updates)
    params = optax.apply_updates(state.params, updates)
    if phase.amend is not None:
      params, extra = phase.amend(params, extra, context)
    state = dataclasses.replace(
      state, step=state.step + 1, params=params, extra=extra, opt=opt
    )
    return state, metrics

  return step
