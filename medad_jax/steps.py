"""Optimizer steps of one member: one loss, losses in turn, a critic.

A step is a value with two parts: `start(params)` makes the optimizer's state,
and calling it with (state, batch, context) takes one step. A method picks one
of these or writes its own. The engine adds members, devices and loops.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float
import optax

from medad_jax.training import Optimizer
from medad_jax.types import Batch, Context, Loss, Metrics, TrainState

# (params, extra, context, metrics) -> params, extra; after a step's updates.
After = Callable[[Any, Any, Context, Metrics], tuple[Any, Any]]
# (params, extra, batch, context, handed) -> loss, (extra, metrics, handed). A
# turn may hand arrays on to the next one, so that both share a forward pass.
TurnLoss = Callable[
  [Any, Any, Batch, Context, Any],
  tuple[Float[Array, ""], tuple[Any, Metrics, Any]],
]


def transformation(optimizer: Optimizer) -> optax.GradientTransformation:
  """The optimizer as torch.optim computes it: clip, then L2, then moments.

  The L2 term is added to the gradient before the moments, for all parameters
  (torch's `weight_decay`), which is not AdamW. The rate is the first epoch's.
  """
  parts = []
  if optimizer.grad_clip is not None:
    parts.append(optax.clip_by_global_norm(optimizer.grad_clip))
  if not isinstance(optimizer.weight_decay, float) or optimizer.weight_decay:
    parts.append(optax.add_decayed_weights(optimizer.weight_decay))
  parts += _moments(optimizer)
  parts.append(optax.scale_by_learning_rate(optimizer.learning_rate))
  return optax.chain(*parts)


def rate_factor(optimizer: Optimizer, context: Context) -> Float[Array, ""]:
  """The learning rate of a step, relative to the first epoch's."""
  return _FACTORS[optimizer.schedule.kind](optimizer, context)


@dataclasses.dataclass(frozen=True)
class Descend:
  """One loss of all parameters and one optimizer.

  Attributes:
    loss: see `types.Loss`.
    optimizer: of all parameters.
    after: what else happens to a member after each update; None for nothing.
  """

  loss: Loss
  optimizer: Optimizer
  after: After | None = None

  def start(self, params: Any) -> Any:
    """The optimizer's state before the first step."""
    return transformation(self.optimizer).init(params)

  def __call__(
    self, state: TrainState, batch: Batch, context: Context
  ) -> tuple[TrainState, Metrics]:
    """See `types.Step`."""
    value_and_grad = jax.value_and_grad(self.loss, has_aux=True)
    (loss, (extra, metrics)), grads = value_and_grad(
      state.params, state.extra, batch, context
    )
    # One reduction for everything that devices average.
    grads, metrics = context.axis.mean((grads, {"loss": loss, **metrics}))
    params, opt = updated(
      self.optimizer, context, grads, state.opt, state.params
    )
    return _finished(state, params, extra, opt, context, metrics, self.after)


class Turn(NamedTuple):
  """One part's share of a step.

  Attributes:
    part: key of the parameters that move, such as "decoder".
    loss: what they descend; all other parameters are constants to it.
    optimizer: of this part.
  """

  part: str
  loss: TurnLoss
  optimizer: Optimizer


@dataclasses.dataclass(frozen=True)
class Alternate:
  """Several parts that move in turn; each turn sees the parts moved before it.

  Attributes:
    turns: in their order; parts that are in none never move.
    after: what else happens to a member after all turns; None for nothing.
  """

  turns: tuple[Turn, ...]
  after: After | None = None

  def start(self, params: Any) -> Any:
    """The optimizers' states by part."""
    return _start(self.turns, params)

  def __call__(
    self, state: TrainState, batch: Batch, context: Context
  ) -> tuple[TrainState, Metrics]:
    """See `types.Step`; "loss" is the sum of the turns' losses."""
    params, extra, opt = state.params, state.extra, state.opt
    found: dict[str, Any] = {}
    handed = None
    for turn in self.turns:
      params, extra, opt, metrics, handed = _take(
        turn, params, extra, opt, batch, context, handed
      )
      found |= metrics
    found["loss"] = sum(found[f"{turn.part}_loss"] for turn in self.turns)
    return _finished(state, params, extra, opt, context, found, self.after)


@dataclasses.dataclass(frozen=True)
class Critic:
  """A critic that learns from several fresh batches, then its opponent.

  WGAN-GP (Gulrajani et al., NeurIPS 2017, algorithm 1). The phase's
  `Inputs.batches` is `batches` + 1: the last one is the opponent's.

  Attributes:
    critics: turns on each of the first batches.
    opponents: turns on the last batch.
    batches: of the critics, at least one.
  """

  critics: tuple[Turn, ...]
  opponents: tuple[Turn, ...]
  batches: int

  def start(self, params: Any) -> Any:
    """The optimizers' states by part."""
    return _start((*self.critics, *self.opponents), params)

  def __call__(
    self, state: TrainState, batch: Batch, context: Context
  ) -> tuple[TrainState, Metrics]:
    """See `types.Step`; a critic's metrics are those of its last batch."""
    moving = state.params, state.extra, state.opt
    found: dict[str, Any] = {}
    # Unrolled: a loop inside the steps' loop is slow on CPUs, and n is small.
    for number in range(self.batches + 1):
      turns = self.critics if number < self.batches else self.opponents
      own = jax.tree.map(lambda x, n=number: x[n], batch)
      key = jax.random.fold_in(context.key, number)
      at = dataclasses.replace(context, key=key)
      handed = None
      for turn in turns:
        *moving, metrics, handed = _take(turn, *moving, own, at, handed)
        found |= metrics
    turns = (*self.critics, *self.opponents)
    found["loss"] = sum(found[f"{turn.part}_loss"] for turn in turns)
    return _finished(state, *moving, context, found, None)


def _start(turns: tuple[Turn, ...], params: Any) -> dict[str, Any]:
  return {
    turn.part: transformation(turn.optimizer).init(params[turn.part])
    for turn in turns
  }


def _take(turn, params, extra, opt, batch, context, handed):
  """One turn: the updated trees, metrics and what it hands on."""

  def loss_of(own):
    return turn.loss({**params, turn.part: own}, extra, batch, context, handed)

  own = params[turn.part]
  (loss, (extra, metrics, handed)), grads = jax.value_and_grad(
    loss_of, has_aux=True
  )(own)
  metrics = {f"{turn.part}_loss": loss, **metrics}
  grads, metrics = context.axis.mean((grads, metrics))
  own, moments = updated(turn.optimizer, context, grads, opt[turn.part], own)
  # A gradient through what was handed on would reach parts out of their turn.
  handed = lax.stop_gradient(handed)
  return (
    {**params, turn.part: own},
    extra,
    {**opt, turn.part: moments},
    metrics,
    handed,
  )


def updated(
  optimizer: Optimizer, context: Context, grads: Any, opt: Any, params: Any
) -> tuple[Any, Any]:
  """The parameters after one update, and the optimizer's state.

  Args:
    optimizer: of these parameters.
    context: of the step; its epoch decides the rate.
    grads: of the whole batch, averaged over devices.
    opt: the optimizer's state before.
    params: the parameters before.
  """
  updates, opt = transformation(optimizer).update(grads, opt, params)
  if optimizer.schedule.kind != "constant":
    factor = rate_factor(optimizer, context)
    updates = jax.tree.map(lambda x: factor * x, updates)
  return optax.apply_updates(params, updates), opt


def _finished(state, params, extra, opt, context, metrics, after):
  if after is not None:
    params, extra = after(params, extra, context, metrics)
  state = dataclasses.replace(
    state, step=state.step + 1, params=params, extra=extra, opt=opt
  )
  return state, metrics


def _moments(optimizer: Optimizer) -> list[optax.GradientTransformation]:
  if optimizer.algorithm == "adam":
    return [optax.scale_by_adam(optimizer.b1, optimizer.b2, optimizer.eps)]
  if optimizer.algorithm == "tf_adam":
    return [_tf_adam(optimizer.b1, optimizer.b2, optimizer.eps)]
  if optimizer.algorithm == "sgd":
    return [optax.trace(optimizer.momentum)]
  if optimizer.algorithm == "tf_rmsprop":
    # TensorFlow's mean square starts at 1, so the first steps are shorter.
    return [
      optax.scale_by_rms(optimizer.b2, optimizer.eps, initial_scale=1.0),
      optax.trace(optimizer.momentum),
    ]
  # torch adds eps to the root, and its momentum accumulates scaled gradients.
  return [
    optax.scale_by_rms(optimizer.b2, optimizer.eps, eps_in_sqrt=False),
    optax.trace(optimizer.momentum),
  ]


def _tf_adam(b1, b2, eps) -> optax.GradientTransformation:
  """Adam with eps beside the root of the second moment before its correction.

  TensorFlow's form, "epsilon hat" in section 2 of Kingma and Ba (ICLR 2015).
  """

  def update(grads, state, params=None):
    del params
    trees = optax.tree_utils
    count = optax.safe_increment(state.count)
    mu = trees.tree_update_moment(grads, state.mu, b1, 1)
    nu = trees.tree_update_moment(grads, state.nu, b2, 2)
    rate = jnp.sqrt(1 - b2**count) / (1 - b1**count)
    updates = jax.tree.map(lambda m, v: rate * m / (jnp.sqrt(v) + eps), mu, nu)
    return updates, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(optax.scale_by_adam().init, update)


def _constant(optimizer, context):
  del optimizer, context
  return jnp.ones(())


def _cosine(optimizer, context):
  schedule = optimizer.schedule
  epoch = jnp.maximum(context.epoch - schedule.lag, 0)
  last = schedule.final_rate / optimizer.learning_rate
  fall = (1 + jnp.cos(jnp.pi * epoch / context.epochs)) / 2
  return last + (1 - last) * fall


def _step(optimizer, context):
  schedule = optimizer.schedule
  return schedule.factor ** (context.epoch // schedule.every)


def _multistep(optimizer, context):
  schedule = optimizer.schedule
  passed = jnp.sum(context.epoch >= jnp.array(schedule.at or (jnp.inf,)))
  return schedule.factor**passed


_FACTORS: Mapping[str, Callable[..., Float[Array, ""]]] = {
  "constant": _constant,
  "cosine": _cosine,
  "step": _step,
  "multistep": _multistep,
}
