"""GANomaly with the nets and losses of its own code.

Paper: Akcay et al., ACCV 2018, arXiv 1805.06725. Scored: "latent", the mean
squared difference of the codes of image and reconstruction; there is no pixel
map. MedIAnomaly's variant is `ganomaly`.

As the official code: convolutions alone, the absolute error of images with
weight 50, and a discriminator that is drawn anew after a step with a loss under
1e-5, its running statistics and optimizer not. There, networks stay in training
mode in tests, so that an image's score depends on its neighbors; here they are
tested by their running statistics. There, the best epoch on the test set is
kept; here the last one.
"""

import dataclasses

from medad_jax import losses, rng
from medad_jax.methods import _adversarial
from medad_jax.nets import dcgan
from medad_jax.ranges import Width
from medad_jax.training import Length, Optimizer
from medad_jax.weights import gan_names

_LOST = 1e-5  # a discriminator loss that is won for good


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(_adversarial.Adversarial):
  """Hyper-parameters of the original GANomaly.

  Attributes:
    width: channels of the nets' first layer.
    latent: length of the code.
  """

  width: Width = 64
  latent: Width = 100
  length: Length = Length(epochs=15, batch_size=64)
  optimizer: Optimizer = Optimizer(learning_rate=2e-4, b1=0.5)

  sees_twice = True

  @property
  def code_length(self):
    """Length of the code."""
    return self.latent

  def net(self, axis):
    """The generator."""
    return dcgan.Generator(self.width, self.latent, axis)

  def discriminator(self, axis):
    """The discriminator."""
    return dcgan.Encoder(self.width, 1, axis)

  def both(self, shape):
    """The names of its own code, which have channels in them."""
    side, _, channels = shape
    return gan_names.ganomaly_original(side, self.width, channels, self.latent)

  def image_error(self, x_hat, image):
    """The absolute error."""
    return losses.absolute_error(x_hat, image)

  def after(self, params, extra, context, metrics):
    """Draws the discriminator anew where it has won."""
    # By the step's loss and not by the epoch's mean, as MedIAnomaly does.
    again = metrics["disc_loss"] < _LOST
    key = rng.stream(context.key, "redraw")
    disc = _adversarial.redrawn(params["disc"], key, again)
    return {**params, "disc": disc}, extra
