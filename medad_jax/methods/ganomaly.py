"""GANomaly: the distance between the codes of image and reconstruction.

Paper: Akcay et al., ACCV 2018, arXiv 1805.06725, as in MedIAnomaly (Cai et al.,
Medical Image Analysis 2025, arXiv 2404.04518). Scored: "latent", the mean
squared difference of the two codes; there is no pixel map.

As the official code of MedIAnomaly: the adversarial term matches features of
the discriminator, the error is squared and not absolute, and both nets take
their steps from one forward pass. After an epoch with a mean discriminator loss
under 1e-5 its convolutions and normalizations are drawn anew, its dense layers,
running statistics and optimizer not. In tests an image is normalized by its own
statistics (`own_statistics`); without that by the running ones, as usual. The
nets and losses of the paper's own code are `ganomaly_original`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from medad_jax import rng, types
from medad_jax.methods import _adversarial, _reconstruction
from medad_jax.nets import gan
from medad_jax.weights import names

_LEAST = 32  # pixels a side that leave 2x2 numbers a channel
_LOST = 1e-5  # a discriminator loss that is won for good


@dataclasses.dataclass(frozen=True)
class Method(_adversarial.Adversarial, _reconstruction.Autoencoding):
  """Hyper-parameters of GANomaly.

  Attributes:
    own_statistics: whether a test image is normalized by itself.
  """

  own_statistics: bool = True

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

  def discriminator(self, axis):
    """The discriminator."""
    return gan.Discriminator(self.width, self.hidden, self.up_depth, axis)

  def both(self, shape):
    """MedIAnomaly's names."""
    del shape
    return names.ganomaly(self.down_depth, self.up_depth)

  def init(self, key, image_shape):
    """ "net" is the generator, "disc" the discriminator."""
    self._check_sides(image_shape[:2])
    params, extra = super().init(key, image_shape)
    epoch = {"loss": jnp.zeros(()), "images": jnp.zeros((), jnp.int32)}
    return params, {**extra, "epoch": epoch}

  def discriminate(self, params, extra, batch, context, handed):
    """The discriminator's loss, whose sum over the epoch is kept."""
    count = len(batch["image"]) * context.axis.size
    loss, (extra, *rest) = super().discriminate(
      params, extra, batch, context, handed
    )
    # By images, since the last batch of an epoch may be smaller.
    seen = {"loss": count * context.axis.mean(loss), "images": count}
    epoch = jax.tree.map(jnp.add, extra["epoch"], seen)
    return loss, ({**extra, "epoch": epoch}, *rest)

  def after(self, params, extra, context, metrics):
    """Draws the discriminator anew where it has won for a whole epoch."""
    del metrics
    epoch = extra["epoch"]
    mean = epoch["loss"] / jnp.maximum(epoch["images"], 1)
    again = context.epoch_ends & (mean < _LOST)
    key = rng.stream(context.key, "redraw")
    disc = _adversarial.redrawn(params["disc"], key, again)
    # The next epoch's sums start from nothing.
    epoch = jax.tree.map(lambda x: jnp.where(context.epoch_ends, 0, x), epoch)
    return {**params, "disc": disc}, {**extra, "epoch": epoch}

  def outputs(self, state, image):
    """The generator in tests."""
    if not self.own_statistics:
      return super().outputs(state, image)

    def one(image):
      # A batch of one in training mode is normalized by its own statistics. The
      # running ones that it would leave are dropped.
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
