"""DAE: a U-Net that removes coarse noise.

Paper: Kascenas et al., MIDL 2022, arXiv 2208.01055, as in MedIAnomaly (Cai et
al., Medical Image Analysis 2025, arXiv 2404.04518). Scored: the squared
difference of an image, without noise, and what the net makes of it.

As in the official code of MedIAnomaly, a whole batch shares the shift of the
noise and the gray value that counts as background. Noise n becomes 2n - 1, so
images are darker by one in training than in tests, and the background by
exactly one. `centered` leaves that out (noise with mean 0).
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from medad_jax import rng
from medad_jax.augment.noise import coarse_noise
from medad_jax.methods import _net, _reconstruction
from medad_jax.nets.unet import UNet
from medad_jax.ranges import Depth, Range, Weight, Width
from medad_jax.weights import names


@dataclasses.dataclass(frozen=True)
class Method(_reconstruction.Reconstruction):
  """Hyper-parameters of DAE.

  Attributes:
    width: channels of the U-Net's first level.
    levels: resolutions of the U-Net.
    deviation: of the noise, in gray values of [-1, 1].
    grid: the noise is drawn on grid x grid places.
    foreground: whether the background (the batch's least value) has no noise.
    centered: whether the noise has mean 0.
  """

  width: Width = 64
  levels: Depth = 5
  deviation: Weight = 0.2
  grid: Annotated[int, Range(1, 512)] = 16  # drawn for every image
  foreground: bool = False
  centered: bool = False

  looped = False  # its convolutions are XLA's

  def net(self, axis):
    """The U-Net; it has no batch normalization and needs no axis."""
    del axis
    return UNet(self.width, self.levels)

  def table(self):
    """MedIAnomaly's names."""
    return names.unet(self.levels)

  def init(self, key, image_shape):
    """Parameters of one member, under "net"."""
    net = self.net(None)
    variables = net.init(rng.stream(key, "net"), jnp.zeros((1, *image_shape)))
    # Group normalization has no running statistics.
    return {"net": variables["params"]}, {}

  def corrupt(self, batch, context):
    """Noise on every image."""
    image = batch["image"]
    keys = rng.per_example(rng.stream(context.key, "noise"), batch["slot"])
    shape = (self.grid, self.grid, image.shape[-1])
    drawn = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
    # From the step's key and not from an example's: one for the batch.
    shift = jax.random.randint(
      rng.stream(context.key, "shift"), (2,), 0, jnp.array(image.shape[1:3])
    )
    noise = coarse_noise(self.deviation * drawn, image.shape[1:3], shift)
    return self.add(image, noise, context)

  def add(self, image, noise, context):
    """Image and noise [b h w c], with the rules of the module's docstring."""
    if self.foreground:
      # Over all devices, which must agree on what is background.
      noise = noise * (image > context.axis.min(jnp.min(image)))
    # The official code maps noise to [-1, 1] as if it were an image.
    return image + (noise if self.centered else 2 * noise - 1)

  def apply(self, params, extra, image, context):
    """The net in training."""
    del context
    return self._outputs(params, image), extra

  def outputs(self, state, image):
    """The net in tests, which is the same."""
    return self._outputs(state.params, image)

  def _outputs(self, params, image):
    net = self.net(None)
    return {"x_hat": _net.apply(net, params, image, precision=self.precision)}
