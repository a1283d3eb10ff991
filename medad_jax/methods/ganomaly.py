"""GANomaly: how far the code of a reconstruction is from the image's.

Paper: Akcay et al., ACCV 2018, arXiv 1805.06725, as in MedIAnomaly (Cai et al.,
Medical Image Analysis 2025, arXiv 2404.04518). Scored: "latent", the mean
squared difference of the two codes; there is no pixel map.

As the official code of MedIAnomaly: the adversarial term matches features of
the discriminator, the error is squared and not absolute, and both nets take
their steps from one forward pass. After an epoch with a mean discriminator loss
under 1e-5 its convolutions and normalizations are drawn anew, its dense layers,
running statistics and optimizer not. In tests an image is normalized by its own
statistics (`own_statistics`); without that by the running ones, as usual.
"""

import dataclasses

import jax
from jax import lax
import jax.numpy as jnp

from medad_jax import losses, rng, types
from medad_jax.methods import _net, _reconstruction
from medad_jax.nets import gan

_LEAST = 32  # pixels a side that leave 2x2 numbers a channel
_LOST = 1e-5  # a discriminator loss that is won for good


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Reconstruction):
  """Hyper-parameters of GANomaly.

  Attributes:
    adversarial_weight: weight of the features' error.
    error_weight: weight of the image's error.
    latent_weight: weight of the code's error.
    own_statistics: whether a test image is normalized by itself.
  """

  adversarial_weight: float = 1.0
  error_weight: float = 50.0
  latent_weight: float = 1.0
  own_statistics: bool = True

  @property
  def score_names(self):
    """ "latent" alone, the mean of all members."""
    return ("latent",)

  def phases(self):
    """ "train": generator and discriminator together."""
    (phase,) = super().phases()
    return (dataclasses.replace(phase, amend=self.redraw),)

  def net(self, axis):
    """The generator."""
    return gan.Generator(
      self.width,
      self.latent,
      self.hidden,
      self.down_depth,
      self.up_depth,
      axis,
    )

  def discriminator(self, axis: types.Axis) -> gan.Discriminator:
    """The discriminator."""
    return gan.Discriminator(self.width, self.hidden, self.up_depth, axis)

  def init(self, key, image_shape):
    """ "net" is the generator, "disc" the discriminator."""
    image = jnp.zeros((1, *image_shape))
    params, extra = _net.init(self.net(types.Axis()), key, image)
    second, statistics = _net.init(
      self.discriminator(types.Axis()), rng.stream(key, "disc"), image
    )
    epoch = {"loss": jnp.zeros(()), "images": jnp.zeros(())}
    return (
      {**params, "disc": second["net"]},
      {**extra, "disc": statistics["net"], "epoch": epoch},
    )

  def loss(self, params, extra, batch, context):
    """Both losses at once; each parameter gets the gradient of its own."""
    image = batch["image"]
    out, generated = self.apply(params, extra, image, context)
    judge = _Judge(self.discriminator(context.axis), extra["disc"])
    real, wanted = judge(params["disc"], image)
    # The generator must not move the discriminator, nor the other way round.
    _, found = judge(lax.stop_gradient(params["disc"]), out["x_hat"])
    fake, _ = judge(params["disc"], lax.stop_gradient(out["x_hat"]))
    parts = {
      "adversarial": jnp.mean((found - lax.stop_gradient(wanted)) ** 2),
      "error": jnp.mean(losses.squared_error(out["x_hat"], image)),
      "latent": jnp.mean((out["latent"] - out["latent_hat"]) ** 2),
    }
    generator = (
      self.adversarial_weight * parts["adversarial"]
      + self.error_weight * parts["error"]
      + self.latent_weight * parts["latent"]
    )
    second = jnp.mean(losses.real_or_fake(real, fake))
    metrics = {**parts, "generator": generator, "discriminator": second}
    extra = {
      **generated,
      "disc": judge.statistics,
      "epoch": _count(extra["epoch"], second, image.shape[0], context.axis),
    }
    return generator + second, (extra, metrics)

  def redraw(self, params, extra, context):
    """Draws the discriminator anew where it has won for a whole epoch."""
    epoch = extra["epoch"]
    over = (context.step + 1) % context.epoch_steps == 0
    mean = epoch["loss"] / jnp.maximum(epoch["images"], 1)
    again = over & (mean < _LOST)
    drawn = _redrawn(rng.stream(context.key, "redraw"), params["disc"])
    disc = jax.tree.map(
      lambda new, old: jnp.where(again, new, old), drawn, params["disc"]
    )
    epoch = jax.tree.map(lambda x: jnp.where(over, 0, x), epoch)
    return {**params, "disc": disc}, {**extra, "epoch": epoch}

  def predict(self, states, batch):
    """ "x_hat", "latent" and "latent_hat"."""
    return self.outputs(states["train"], batch["image"])

  def outputs(self, state, image):
    """The generator in tests."""
    if not self.own_statistics:
      return super().outputs(state, image)
    if max(image.shape[1:3]) < _LEAST:
      raise types.UserError(
        f"images of {image.shape[1]}x{image.shape[2]} leave one number a"
        " channel, which has no statistics of its own: set data.image_size to"
        f" {_LEAST} or more, or model.own_statistics to False"
      )

    def one(image):
      alone = types.Context(state.key, state.step, state.step, types.Axis())
      out, _ = self.apply(state.params, state.extra, image[None], alone)
      return jax.tree.map(lambda x: x[0], out)

    return jax.vmap(one)(image)

  def score(self, preds, batch, fitted):
    """ "latent", the mean over members; there is no map."""
    del batch, fitted
    gap = jnp.mean((preds["latent"] - preds["latent_hat"]) ** 2, -1)
    x_hat = jnp.mean(preds["x_hat"], 0)
    return types.Scores({"latent": jnp.mean(gap, 0)}, {}, x_hat)


class _Judge:
  """The discriminator, whose running statistics see every call."""

  def __init__(self, net, statistics):
    self._net, self.statistics = net, statistics

  def __call__(self, params, image):
    out, new = self._net.apply(
      {"params": params, "batch_stats": self.statistics},
      image,
      train=True,
      mutable=["batch_stats"],
    )
    self.statistics = new["batch_stats"]
    return out


def _count(epoch, loss, examples, axis):
  """Adds a step to the epoch's sums, over all devices."""
  images = examples * axis.size
  return {
    "loss": epoch["loss"] + images * axis.mean(loss),
    "images": epoch["images"] + images,
  }


def _redrawn(key, params):
  """Normal convolutions (0, 0.02) and scales (1, 0.02), biases of 0."""

  def draw(path, old):
    layer, name = (part.key for part in path[-2:])
    if layer.startswith("Dense"):
      return old
    noise = 0.02 * jax.random.normal(
      rng.stream(key, jax.tree_util.keystr(path)), old.shape
    )
    return {"kernel": noise, "scale": 1 + noise, "bias": 0 * old}[name]

  return jax.tree_util.tree_map_with_path(draw, params)
