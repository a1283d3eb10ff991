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
import jax.numpy as jnp

from medad_jax import losses, rng, steps, types
from medad_jax.methods import _net, _reconstruction
from medad_jax.nets import gan
from medad_jax.ranges import Weight

_LEAST = 32  # pixels a side that leave 2x2 numbers a channel
_LOST = 1e-5  # a discriminator loss that is won for good


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Autoencoding):
  """Hyper-parameters of GANomaly.

  Attributes:
    adversarial_weight: weight of the features' error.
    error_weight: weight of the image's error.
    latent_weight: weight of the code's error.
    own_statistics: whether a test image is normalized by itself.
  """

  adversarial_weight: Weight = 1.0
  error_weight: Weight = 50.0
  latent_weight: Weight = 1.0
  own_statistics: bool = True

  @property
  def score_names(self):
    """ "latent" alone, the mean of all members."""
    return ("latent",)

  def step(self):
    """Generator, then discriminator, both from one forward pass."""
    return steps.Alternate(
      (
        steps.Turn("net", self.generate, self.optimizer),
        steps.Turn("disc", self.discriminate, self.optimizer),
      ),
      after=self.redraw,
    )

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
    self._check_sides(image_shape[:2])
    image = jnp.zeros((1, *image_shape))
    params, extra = _net.init(self.net(types.Axis()), key, image)
    second, statistics = _net.init(
      self.discriminator(types.Axis()), rng.stream(key, "disc"), image
    )
    epoch = {"loss": jnp.zeros(()), "images": jnp.zeros((), jnp.int32)}
    return (
      {**params, "disc": second["net"]},
      {**extra, "disc": statistics["net"], "epoch": epoch},
    )

  def generate(self, params, extra, batch, context, handed):
    """The generator's loss; hands its reconstructions on."""
    del handed
    image = batch["image"]
    out, generated = self.apply(params, extra, image, context)
    (_, wanted), extra = self._judge(params, extra, image, context)
    (_, found), extra = self._judge(params, extra, out["x_hat"], context)
    parts = {
      "adversarial": jnp.mean((found - wanted) ** 2),
      "error": jnp.mean(losses.squared_error(out["x_hat"], image)),
      "latent": jnp.mean((out["latent"] - out["latent_hat"]) ** 2),
    }
    loss = (
      self.adversarial_weight * parts["adversarial"]
      + self.error_weight * parts["error"]
      + self.latent_weight * parts["latent"]
    )
    return loss, ({**extra, **generated}, parts, out["x_hat"])

  def discriminate(self, params, extra, batch, context, x_hat):
    """The discriminator's loss of the images and the generator's x_hat."""
    image = batch["image"]
    # The running statistics have seen these images in the generator's turn.
    (real, _), _ = self._judge(params, extra, image, context)
    (fake, _), extra = self._judge(params, extra, x_hat, context)
    loss = jnp.mean(losses.real_or_fake(real, fake))
    images = len(image) * context.axis.size
    seen = {"loss": images * context.axis.mean(loss), "images": images}
    epoch = jax.tree.map(jnp.add, extra["epoch"], seen)
    return loss, ({**extra, "epoch": epoch}, {}, None)

  def _judge(self, params, extra, image, context):
    """What the discriminator says in training, and the new statistics."""
    out, new = _net.train(
      self.discriminator(context.axis),
      {"net": params["disc"]},
      {"net": extra["disc"]},
      image,
    )
    return out, {**extra, "disc": new["net"]}

  def redraw(self, params, extra, context, metrics):
    """Draws the discriminator anew where it has won for a whole epoch."""
    del metrics
    epoch = extra["epoch"]
    mean = epoch["loss"] / jnp.maximum(epoch["images"], 1)
    again = context.epoch_ends & (mean < _LOST)
    drawn = _redrawn(rng.stream(context.key, "redraw"), params["disc"])
    disc = jax.tree.map(
      lambda new, old: jnp.where(again, new, old), drawn, params["disc"]
    )
    # The next epoch's sums start from nothing.
    epoch = jax.tree.map(lambda x: jnp.where(context.epoch_ends, 0, x), epoch)
    return {**params, "disc": disc}, {**extra, "epoch": epoch}

  def reconstruct(self, state, image):
    """ "x_hat", "latent" and "latent_hat"."""
    return self.outputs(state, image)

  def outputs(self, state, image):
    """The generator in tests."""
    if not self.own_statistics:
      return super().outputs(state, image)

    def one(image):
      alone = types.Context(state.key, *(3 * [state.step]))
      out, _ = self.apply(state.params, state.extra, image[None], alone)
      return jax.tree.map(lambda x: x[0], out)

    return jax.vmap(one)(image)

  def _check_sides(self, sides):
    """Before the training, as scores come after it."""
    if self.own_statistics and max(sides) < _LEAST:
      raise types.UserError(
        f"images of {sides[0]}x{sides[1]} leave one number a"
        " channel, which has no statistics of its own: set data.image_size to"
        f" {_LEAST} or more, or model.own_statistics to False"
      )

  def score(self, preds, batch, fitted):
    """ "latent", the mean over members; there is no map."""
    del batch, fitted
    gap = jnp.mean((preds["latent"] - preds["latent_hat"]) ** 2, -1)
    x_hat = jnp.mean(preds["x_hat"], 0)
    return types.Scores({"latent": jnp.mean(gap, 0)}, {}, x_hat)


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
