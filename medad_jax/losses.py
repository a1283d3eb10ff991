"""Losses, one number per example; the step takes the mean over the batch."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
import numpy as np

from medad_jax.types import UserError

_WINDOW, _DEVIATION = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_TINY = 1e-12
_LEAST = 1e-8  # product of lengths that a cosine divides by, as in PyTorch
_SMOOTH = 1e-5
_MOST = 100.0


def squared_error(
  x_hat: Float[Array, "b *n"], x: Float[Array, "b *n"]
) -> Float[Array, "b"]:
  """Mean of (x_hat - x)^2."""
  _same_shape(x_hat, x)
  return _mean((x_hat - x) ** 2)


def absolute_error(
  x_hat: Float[Array, "b h w c"], x: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
  """Mean of |x_hat - x|."""
  _same_shape(x_hat, x)
  return _mean(jnp.abs(x_hat - x))


def dissimilarity(
  x_hat: Float[Array, "b h w c"], x: Float[Array, "b h w c"]
) -> Float[Array, "b y x c"]:
  """1 - SSIM of each window, [-1, 1] images clipped and moved to [0, 1].

  Wang et al., IEEE TIP 2004, equation 13, with C1 = 0.01^2, C2 = 0.03^2 and a
  Gaussian window of 11x11 with deviation 1.5, whole windows only: 10 pixels
  fewer than the image on each axis.

  Raises:
    UserError: a side is under 11 pixels.
  """
  _same_shape(x_hat, x)
  if min(x.shape[1:3]) < _WINDOW:
    raise UserError(
      f"images of {x.shape[1]}x{x.shape[2]} are smaller than SSIM's window of"
      f" {_WINDOW}x{_WINDOW}; set a larger image size"
    )
  u, v = (jnp.clip((image + 1) / 2, 0, 1) for image in (x, x_hat))
  mean_u, mean_v = _window_mean(u), _window_mean(v)
  var_u = _window_mean(u * u) - mean_u**2
  var_v = _window_mean(v * v) - mean_v**2
  covariance = _window_mean(u * v) - mean_u * mean_v
  light = (2 * mean_u * mean_v + _C1) / (mean_u**2 + mean_v**2 + _C1)
  return 1 - light * (2 * covariance + _C2) / (var_u + var_v + _C2)


def embedding_distance(
  found: Sequence[Float[Array, "b ..."]],
  wanted: Sequence[Float[Array, "b ..."]],
) -> Float[Array, "b"]:
  """Half the mean square and one minus the cosine, summed over embeddings.

  Bercea et al., MIDL 2023, where a cosine is of all numbers of an embedding.
  """
  total = jnp.zeros(())
  for e, other in zip(found, wanted, strict=True):
    a, b = (x.reshape(len(x), -1) for x in (e, other))
    lengths = jnp.sum(a * a, 1) * jnp.sum(b * b, 1)
    # A bound before the root, whose gradient at zero is infinite.
    cosine = jnp.sum(a * b, 1) / jnp.sqrt(jnp.maximum(lengths, _LEAST**2))
    total = total + jnp.mean((a - b) ** 2, 1) / 2 + 1 - cosine
  return total


def normal_divergence(
  mean: Float[Array, "b z"], log_var: Float[Array, "b z"]
) -> Float[Array, "b"]:
  """KL divergence in nats from a standard normal, its MEAN over dimensions.

  Kingma & Welling, ICLR 2014, appendix B, which sums; the official code of
  MedIAnomaly averages, so that its weight does not depend on z.
  """
  return -0.5 * jnp.mean(1 + log_var - mean**2 - jnp.exp(log_var), -1)


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


def real_or_fake(
  real: Float[Array, "b 1"], fake: Float[Array, "b 1"]
) -> Float[Array, "b"]:
  """Half the cross-entropy of both logits (Goodfellow et al., NeurIPS 2014).

  Logarithms of probabilities are clipped at -100, as in PyTorch.
  """
  missed = jnp.minimum(-jax.nn.log_sigmoid(real), _MOST)
  fooled = jnp.minimum(-jax.nn.log_sigmoid(-fake), _MOST)
  return (missed + fooled)[:, 0] / 2


def gradient_penalty(
  critic: Callable[[Float[Array, "b *n"]], Float[Array, "b"]],
  real: Float[Array, "b *n"],
  fake: Float[Array, "b *n"],
  share: Float[Array, "b"],
) -> Float[Array, "b"]:
  """(|gradient| - 1)^2 of a critic between real and fake examples.

  WGAN-GP (Gulrajani et al., NeurIPS 2017, equation 3), without its weight.

  Args:
    critic: examples to one number each, from the example alone.
    real: examples.
    fake: others.
    share: of the real one in the point where the gradient is taken, in [0, 1].
  """
  _same_shape(real, fake)
  share = share.reshape(-1, *(1,) * (real.ndim - 1))
  between = share * real + (1 - share) * fake
  # Of the sum: an example's gradient is that of its own number.
  slope = jax.grad(lambda x: jnp.sum(critic(x)))(between)
  norm = jnp.sqrt(jnp.sum(slope**2, axis=tuple(range(1, slope.ndim))))
  return (norm - 1) ** 2


def binary_cross_entropy(
  logits: Float[Array, "b *n"], target: Float[Array, "b *n"]
) -> Float[Array, "b"]:
  """Mean of -(y ln p + (1 - y) ln(1 - p)) with p the logits' sigmoid.

  Targets may be soft, in [0, 1]. Logarithms are clipped at -100, as in PyTorch.
  PyTorch rounds p to float32, so that for logits over 17 its 1 - p is 0 and the
  logarithm is -100. Here the logarithm goes on as minus the logit, and with it
  the gradient. Below 17 both agree to rounding.
  """
  _same_shape(logits, target)
  on = jnp.minimum(-jax.nn.log_sigmoid(logits), _MOST)
  off = jnp.minimum(-jax.nn.log_sigmoid(-logits), _MOST)
  return _mean(target * on + (1 - target) * off)


def cross_entropy(
  logits: Float[Array, "b c"], label: Int[Array, "b"]
) -> Float[Array, "b"]:
  """-ln of the softmax of the logits at the label, in [0, c)."""
  chosen = jax.nn.one_hot(label, logits.shape[1], dtype=logits.dtype)
  return -jnp.sum(chosen * jax.nn.log_softmax(logits), axis=1)


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


def _window_mean(x):
  """Mean in a Gaussian window, rows then columns, whole windows only."""
  distance = np.arange(_WINDOW) - _WINDOW // 2
  weights = np.exp(-(distance**2) / (2 * _DEVIATION**2))
  weights /= weights.sum()
  for axis in (1, 2):
    size = x.shape[axis] - _WINDOW + 1
    x = sum(
      weight * jax.lax.slice_in_dim(x, at, at + size, axis=axis)
      for at, weight in enumerate(weights.tolist())
    )
  return x


def _same_shape(a, b):
  # Broadcasting would turn a wrong shape into a wrong number.
  if a.shape != b.shape:
    raise ValueError(f"shapes {a.shape} and {b.shape} differ")
