"""Losses, one number an example: the step takes the mean over the batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_TINY = 1e-12
_SMOOTH = 1e-5


def squared_error(
  x_hat: Float[Array, "b h w c"], x: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
  """Mean of (x_hat - x)^2."""
  _same_shape(x_hat, x)
  return _mean((x_hat - x) ** 2)


def heteroscedastic_error(
  x_hat: Float[Array, "b h w c"],
  log_var: Float[Array, "b h w c"],
  x: Float[Array, "b h w c"],
) -> Float[Array, "b"]:
  """Mean of exp(-s) (x_hat - x)^2 + s, with s the unbounded log-variance.

  AE-U (Mao et al., MICCAI 2020) without the factors one half of a Gaussian
  likelihood, as in the official code of DDAD.
  """
  _same_shape(x_hat, x)
  _same_shape(log_var, x)
  return _mean(jnp.exp(-log_var) * (x_hat - x) ** 2 + log_var)


def attention_entropy(attention: Float[Array, "b m"]) -> Float[Array, "b"]:
  """Entropy in nats of attention over memory items (MemAE, equation 9)."""
  return -jnp.sum(attention * jnp.log(attention + _TINY), axis=-1)


def focal(
  logits: Float[Array, "b h w 2"], target: Bool[Array, "b h w"]
) -> Float[Array, "b"]:
  """Mean of -(1 - p)^2 ln p, with p the probability of each pixel's class.

  p is (1 - 2e) P + 2e with e = 1e-5: the official code of DDAD-ASR smooths the
  one-hot target by e and then adds e.
  """
  if logits.shape != (*target.shape, 2):
    raise ValueError(
      f"logits of shape {logits.shape} do not fit a target of shape"
      f" {target.shape}: wanted {(*target.shape, 2)}"
    )
  margin = logits[..., 1] - logits[..., 0]
  p = jax.nn.sigmoid(jnp.where(target, margin, -margin))
  p = (1 - 2 * _SMOOTH) * p + 2 * _SMOOTH
  return _mean(-((1 - p) ** 2) * jnp.log(p))


def _mean(x):
  return jnp.mean(x, axis=tuple(range(1, x.ndim)))


def _same_shape(a, b):
  # Broadcasting would turn a wrong shape into a wrong number.
  if a.shape != b.shape:
    raise ValueError(f"shapes {a.shape} and {b.shape} differ")
