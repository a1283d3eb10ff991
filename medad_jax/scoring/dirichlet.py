"""Dirichlet distributions of class probabilities, fitted by a fixed point.

Minka, "Estimating a Dirichlet distribution" (2000), as Golan and El-Yaniv use
it (NeurIPS 2018): one distribution for each transformation.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Array, Float, Int
import numpy as np

_TOLERANCE = 1e-9  # of the last change's norm
_MOST = 1000  # updates
_NEWTON = 5  # steps that invert digamma
_LEAST = 1e-37  # float32's softmax may underflow, and ln 0 would end in NaN
_OFFSET = 1e-6  # added to probabilities when they are scored


class Means(NamedTuple):
  """Sufficient statistics of probabilities: memory does not grow with them.

  Attributes:
    log: means of their logarithms.
    plain: their means.
  """

  log: Float[np.ndarray, "t k"]
  plain: Float[np.ndarray, "t k"]


class Fitted(NamedTuple):
  """Distributions and how they were found.

  Attributes:
    alpha: their parameters.
    first: where the iteration began.
    updates: of each distribution.
  """

  alpha: Float[np.ndarray, "t k"]
  first: Float[np.ndarray, "t k"]
  updates: Int[np.ndarray, "t"]


def means(batches: Iterable[Float[np.ndarray, "n t k"]]) -> Means:
  """The statistics of a stream, in float64.

  Args:
    batches: of n examples, the k probabilities under each of t transformations.
  """
  count, log, plain = 0, 0.0, 0.0
  for found in batches:
    exact = np.maximum(found.astype(np.float64), _LEAST)
    count += len(exact)
    log = log + np.log(exact).sum(0)
    plain = plain + exact.sum(0)
  return Means(np.asarray(log / count), np.asarray(plain / count))


def fit(statistics: Means) -> Fitted:
  """The distributions of greatest likelihood, one for each transformation."""
  # In float64: float32 has its fixed point elsewhere, where the tolerance is
  # reached after half the updates.
  with jax.enable_x64(True):
    found = jax.jit(jax.vmap(_fit))(*map(jnp.asarray, statistics))
  return Fitted(*map(np.asarray, found))


def log_density(
  alpha: Float[Array, "t k"], probabilities: Float[Array, "b t k"]
) -> Float[Array, "b"]:
  """Mean over t of the log density without its constant."""
  logs = jnp.log(probabilities + _OFFSET)
  return jnp.mean(jnp.sum((alpha - 1) * logs, -1), -1)


def _fit(log, plain):
  """One distribution: its parameters, the first guess, and the updates."""
  euler = -special.digamma(1.0)
  # Of n rows the guess has a factor n above and below.
  gap = jnp.sum(plain * jnp.log(plain)) - jnp.sum(plain * log)
  first = (len(log) - 1) * euler / gap * plain

  def goes_on(carry):
    number, _, change = carry
    return (number < _MOST) & (change >= _TOLERANCE)

  def update(carry):
    number, alpha, _ = carry
    new = _inverse_digamma(special.digamma(jnp.sum(alpha)) + log)
    return number + 1, new, jnp.linalg.norm(new - alpha)

  start = (jnp.int32(0), first, jnp.full((), jnp.inf, first.dtype))
  number, alpha, _ = lax.while_loop(goes_on, update, start)
  return alpha, first, number


def _inverse_digamma(y):
  x = jnp.where(y >= -2.22, jnp.exp(y) + 0.5, -1 / (y - special.digamma(1.0)))
  for _ in range(_NEWTON):
    x = x - (special.digamma(x) - y) / special.polygamma(1, x)
  return x
