"""Expected numbers of the reference nets, and the steps that reproduce them."""

from collections.abc import Callable
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from medad_jax import losses, types
from medad_jax.engine import optim

_FOLDER = pathlib.Path(__file__).parent
# Large arrays were stored at these pixels only.
SAMPLED = (Ellipsis, slice(3, None, 8), slice(5, None, 8))
CONTEXT = types.Context(
  jax.random.key(0), jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
)


def load(case: str) -> dict[str, Any]:
  """The arrays of `case.npz`; "shapes" and "grad_norms" as dicts."""
  with np.load(_FOLDER / f"{case}.npz") as stored:
    out = dict(stored)
  for name in ("shapes", "grad_norms"):
    if name in out:
      out[name] = json.loads(str(out[name]))
  return out


def channels_last(x: np.ndarray) -> jax.Array:
  """(b, c, h, w) -> (b, h, w, c)."""
  return jnp.asarray(x.transpose(0, 2, 3, 1))


def channels_first(x: jax.Array) -> np.ndarray:
  """(b, h, w, c) -> (b, c, h, w)."""
  return np.asarray(x).transpose(0, 3, 1, 2)


def batch_of(image: jax.Array) -> types.Batch:
  """A batch that holds these images."""
  b = image.shape[0]
  return types.Batch(
    image=image,
    label=jnp.zeros(b, jnp.int32),
    valid=jnp.ones(b, bool),
    slot=jnp.arange(b),
    id=jnp.arange(b),
  )


def state_of(params: Any, extra: Any) -> types.TrainState:
  """One member's state, to predict with."""
  return types.TrainState(
    step=jnp.zeros((), jnp.int32),
    params={"net": params},
    extra={"net": extra},
    opt=None,
    key=jax.random.key(0),
  )


def doubled(tree: Any) -> Any:
  """The same numbers as float64 arrays."""
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def method_loss(method: Any, image: jax.Array) -> Callable:
  """(params, extra) -> loss, (extra, metrics) of a method on these images."""

  def loss(params, extra):
    return method.loss(params, extra, batch_of(image), CONTEXT)

  return loss


def refine_loss(net: Any, stack: jax.Array, mask: jax.Array) -> Callable:
  """(params, extra) -> loss, (extra, metrics) of a refinement net."""

  def loss(params, extra):
    logits, new = net.apply(
      {"params": params["net"], "batch_stats": extra["net"]},
      stack,
      train=True,
      mutable=["batch_stats"],
    )
    value = jnp.mean(losses.focal(logits, mask))
    return value, ({"net": new["batch_stats"]}, {})

  return loss


class Descent(NamedTuple):
  """Some optimizer steps on one batch.

  Attributes:
    losses: before each step.
    metrics: of each step, by name.
    grads: the first gradient.
    params: after the last step.
    extra: after the last step.
  """

  losses: list[float]
  metrics: list[dict[str, Any]]
  grads: Any
  params: Any
  extra: Any


def descend(
  loss: Callable, params: Any, extra: Any, training: types.Training, steps: int
) -> Descent:
  """Optimizer steps on one batch, from `params` and `extra` by part."""
  params, extra = jax.tree.map(jnp.asarray, (params, extra))
  optimizer = optim.make(training)
  opt = optimizer.init(params)

  @jax.jit
  def step(params, extra, opt):
    value_and_grad = jax.value_and_grad(loss, has_aux=True)
    (value, (extra, metrics)), grads = value_and_grad(params, extra)
    updates, opt = optimizer.update(grads, opt, params)
    params = optax.apply_updates(params, updates)
    return params, extra, opt, grads, value, metrics

  values, rows, first = [], [], None
  for _ in range(steps):
    params, extra, opt, grads, value, metrics = step(params, extra, opt)
    first = grads if first is None else first
    values.append(float(value))
    rows.append(metrics)
  return Descent(values, rows, first, params, extra)


def descend_net(
  loss: Callable, params: Any, extra: Any, training: types.Training, steps: int
) -> tuple[list[float], Any, tuple[Any, Any]]:
  """`descend` of a method with one net: losses, gradient, (params, extra)."""
  done = descend(loss, {"net": params}, {"net": extra}, training, steps)
  return done.losses, done.grads["net"], (done.params["net"], done.extra["net"])


# How DDAD-ASR trains its reconstruction nets and its refinement net, and how
# MedIAnomaly trains.
ENSEMBLES = types.Training(
  epochs=1, batch_size=4, learning_rate=5e-4, b1=0.5, b2=0.999
)
REFINEMENT = types.Training(
  epochs=1,
  batch_size=2,
  learning_rate=1e-4,
  b1=0.5,
  b2=0.999,
  weight_decay=1e-4,
)
MEDIANOMALY = types.Training(epochs=1, batch_size=4, learning_rate=1e-3)
