"""VAE: an autoencoder whose code is drawn from a distribution.

Paper: Kingma & Welling, ICLR 2014, arXiv 1312.6114; its scores from gradients
Zimmerer et al., MICCAI 2019, arXiv 1907.02796, as in MedIAnomaly (Cai et al.,
Medical Image Analysis 2025, arXiv 2404.04518). Scored, all of one training,
with R the mean squared error and K the divergence of an image's code:
  rec        (x - x_hat)^2
  grad_rec   |dR / dx|
  grad_kl    |dK / dx|
  grad_elbo  |d(R + weight K) / dx|
  combi      (x - x_hat)^2 |dK / dx|

As the official code: K is a mean over the code's dimensions, and codes are
drawn in tests, too. There every draw is new. Here one draw of noise, from the
training's seed, serves all images, so that a score depends on the image alone.
`draws` averages the reconstructions of several, or takes the mean code.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import losses, rng, types
from medad_jax.methods import _net, _reconstruction
from medad_jax.nets import autoencoder
from medad_jax.ranges import Range, Weight


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.SeveralScores):
  """Hyper-parameters of VAE.

  Attributes:
    divergence_weight: weight of the divergence in the loss and in grad_elbo.
    draws: codes drawn in tests; 0 for the mean code.
  """

  OTHERS = ("grad_rec", "grad_kl", "grad_elbo", "combi")

  divergence_weight: Weight = 0.005
  draws: Annotated[int, Range(0, 1_000)] = 1

  def net(self, axis):
    """The variational autoencoder."""
    return autoencoder.VariationalAutoencoder(
      self.width,
      self.latent,
      self.hidden,
      self.down_depth,
      self.up_depth,
      axis,
    )

  def init(self, key, image_shape):
    """Parameters and running statistics of one member, under "net"."""
    return _net.init(
      self.net(types.Axis()),
      key,
      jnp.zeros((1, *image_shape)),
      jnp.zeros((1, self.latent)),
    )

  def loss(self, params, extra, batch, context):
    """Squared error and a little of the code's divergence."""
    batch = self.constraint.mixed(batch, context)
    # Drawn outside the net, so that `loss_of` can be given any noise.
    keys = rng.per_example(rng.stream(context.key, "code"), batch["slot"])
    noise = jax.vmap(lambda key: jax.random.normal(key, (self.latent,)))(keys)
    return self.loss_of(params, extra, batch, noise, context)

  def loss_of(self, params, extra, batch, noise, context):
    """The loss with given noise [b z]."""
    image = batch["image"]
    out, new = self.apply(params, extra, image, context, noise)
    term, parts = self.constraint.term(
      params, extra, out["mean"], batch, context.axis
    )
    error = jnp.mean(losses.squared_error(out["x_hat"], image))
    divergence = jnp.mean(_divergence(out))
    # Both are means, over pixels and over the code's dimensions, and not sums
    # as in the paper.
    loss = error + term + self.divergence_weight * divergence
    metrics = {"error": error, "divergence": divergence, **parts}
    return loss, ({**extra, **new}, metrics)

  def predict(self, states, batch):
    """ "x_hat", "latent", and the maps [b h w] of all scores but "rec"."""
    noise = self.noise(states["train"], len(batch["image"]))
    return self.views(states["train"], batch["image"], noise)

  def reconstruct(self, state, image):
    """ "x_hat", the mean over the draws, and "latent", the mean code."""
    out = self._mean(state, image, self.noise(state, len(image)))
    return {"x_hat": out["x_hat"], "latent": out["mean"]}

  def noise(self, state: types.TrainState, count: int) -> Float[Array, "d b z"]:
    """The noise of tests, the same for every image; 0 for the mean code."""
    # One draw for all images: the place in a batch must not matter.
    shape = (max(self.draws, 1), 1, self.latent)
    noise = jax.random.normal(rng.stream(state.key, "test"), shape)
    if not self.draws:
      # mean + 0 * deviation is the mean code.
      noise = jnp.zeros(shape)
    return jnp.repeat(noise, count, 1)

  def _mean(self, state, image, noise) -> dict[str, Array]:
    """The net's outputs, averaged over the draws."""

    def one(noise):
      return self.outputs(state, image, noise)

    return jax.tree.map(lambda x: jnp.mean(x, 0), jax.vmap(one)(noise))

  def views(
    self,
    state: types.TrainState,
    image: Float[Array, "b h w c"],
    noise: Float[Array, "d b z"],
  ) -> types.Preds:
    """The output of `predict`, with given noise of each draw."""

    def outputs(image):
      return self._mean(state, image, noise)

    def error(image):
      return losses.squared_error(outputs(image)["x_hat"], image)

    out = outputs(image)
    x_hat = out["x_hat"]
    by_error = _reconstruction.input_gradient(error, image)
    by_code = _reconstruction.input_gradient(
      lambda image: _divergence(outputs(image)), image
    )
    pixels = {
      "grad_rec": by_error,
      "grad_kl": by_code,
      # Derivatives add up, which saves a third backward pass.
      "grad_elbo": by_error + self.divergence_weight * by_code,
      # Its sign is dropped below, with that of the others.
      "combi": (image - x_hat) ** 2 * by_code,
    }
    absolute = {k: jnp.mean(jnp.abs(v), -1) for k, v in pixels.items()}
    return {"x_hat": x_hat, "latent": out["mean"], **absolute}


def _divergence(out) -> Float[Array, "b"]:
  return losses.normal_divergence(out["mean"], out["code_log_var"])
