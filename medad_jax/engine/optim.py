"""Optimisers and the gradient step of one member."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import optax

from medad_jax import rng
from medad_jax.types import Axis, Batch, Context, Phase, Training, TrainState


def make(training: Training) -> optax.GradientTransformation:
  """Adam as the references use it: clip, then L2 into the gradient, then Adam.

  The L2 term is added to the gradient before the moments, for all parameters
  (torch.optim.Adam's `weight_decay`), which is not AdamW.
  """
  parts = []
  if training.grad_clip is not None:
    parts.append(optax.clip_by_global_norm(training.grad_clip))
  if training.weight_decay:
    parts.append(optax.add_decayed_weights(training.weight_decay))
  parts.append(
    optax.adam(training.learning_rate, b1=training.b1, b2=training.b2)
  )
  return optax.chain(*parts)


def init_state(
  phase: Phase, key: jax.Array, shape: tuple[int, int, int]
) -> TrainState:
  """A member's state before its first step; `shape` is that of an image."""
  params, extra = phase.init(rng.stream(key, "init"), shape)
  return TrainState(
    step=jax.numpy.zeros((), jax.numpy.int32),
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
    params = optax.apply_updates(state.params, updates)
    if phase.amend is not None:
      params, extra = phase.amend(params, extra, context)
    state = dataclasses.replace(
      state, step=state.step + 1, params=params, extra=extra, opt=opt
    )
    return state, metrics

  return step
