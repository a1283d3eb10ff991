"""DPA in PyTorch, eager and tuned (Shvetsova et al., IEEE Access 2021).

Written from the published architecture: residual18 without normalization, and
the relative L1 distance of VGG19's features. Initial values are PyTorch's own:
the time of a step does not depend on them. Layers have the names of
`medad_jax.nets.residual` and `medad_jax.nets.vgg`, and `tests/benchmarks` holds
the nets to these.

`Eager` and `Tuned` are those of `benchmarks.torch_reconstruction`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
import torch.nn.functional as F

from benchmarks import torch_nets, torch_side
from benchmarks.protocol import Part, Protocol
from benchmarks.torch_side import Form

WIDE = 16  # channels everywhere, and of the code
RATE = 2e-3
_SLOPE = 0.2
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# Channels and convolutions of VGG19's blocks up to relu4_2.
_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 2))


class Block(nn.Module):
  """Residual block that activates before its two convolutions.

  Args:
    inputs: channels.
    outputs: channels.
    scale: 2 to halve the sides before the convolutions, -2 to double them.
  """

  def __init__(self, inputs: int, outputs: int, scale: int = 1):
    super().__init__()
    self.conv_0 = nn.Conv2d(inputs, outputs, 3, padding=1)
    self.conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1)
    self.skip = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
    self._scale = scale

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """The sum of both branches."""
    main = self.conv_0(self._resized(_active(x)))
    main = self.conv_1(_active(main))
    skip = self._resized(x)
    return main + (skip if self.skip is None else self.skip(skip))

  def _resized(self, x):
    if self._scale == 2:
      return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=2.0) if self._scale == -2 else x


class Encoder(nn.Sequential):
  """Images of one channel to codes of one pixel.

  Args:
    side: of the images.
    channels: of each resolution, the image's first.
    latent: channels of the code.
  """

  def __init__(self, side: int, channels: Sequence[int], latent: int):
    super().__init__()
    wide = channels[0]
    self.add_module(f"preprocess_{side}", nn.Conv2d(1, wide, 3, padding=1))
    for i in range(2):
      self.add_module(f"preprocess_{side}_{i}", Block(wide, wide))
    for inputs, wide in zip(channels, channels[1:], strict=False):
      self.add_module(f"down_{side}", Block(inputs, wide, 2))
      self.add_module(f"down_{side}_0", Block(wide, wide))
      side //= 2
    self.add_module("active", nn.LeakyReLU(_SLOPE))
    self.add_module(f"code_{side}", nn.Conv2d(wide, latent, 4))


class Decoder(nn.Sequential):
  """Codes of one pixel to images of one channel, unbounded.

  Args:
    side: of the images.
    channels: of each resolution, the innermost first.
    latent: channels of the code.
  """

  def __init__(self, side: int, channels: Sequence[int], latent: int):
    super().__init__()
    self.add_module("active", nn.LeakyReLU(_SLOPE))
    wide, at = channels[0], side >> (len(channels) - 1)
    code = nn.Conv2d(latent, wide, 4, padding=3)
    self.add_module(f"code_{at}", code)
    for inputs, wide in zip(channels, channels[1:], strict=False):
      at *= 2
      self.add_module(f"up_{at}", Block(inputs, wide, -2))
      self.add_module(f"up_{at}_0", Block(wide, wide))
    self.add_module("last_active", nn.LeakyReLU(_SLOPE))
    self.add_module(f"postprocess_{side}", nn.Conv2d(wide, 1, 3, padding=1))


class Autoencoder(nn.Module):
  """Encoder and decoder of the same channels.

  Args:
    side: of the images.
    channels: of each resolution, the image's first.
    latent: channels of the code.
  """

  def __init__(self, side: int, channels: Sequence[int], latent: int):
    super().__init__()
    self.encoder = Encoder(side, channels, latent)
    self.decoder = Decoder(side, channels[::-1], latent)

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """The reconstruction."""
    return self.decoder(self.encoder(image))


class Features(nn.Module):
  """VGG19's relu4_2 of gray images, without the distance's statistics."""

  def __init__(self):
    super().__init__()
    self.layers = nn.Sequential()
    inputs = 3
    for block, (wide, count) in enumerate(_BLOCKS, 1):
      for i in range(1, count + 1):
        conv = nn.Conv2d(inputs, wide, 3, padding=1)
        self.layers.add_module(f"conv{block}_{i}", conv)
        self.layers.add_module(f"relu{block}_{i}", nn.ReLU(inplace=True))
        inputs = wide
      if block < len(_BLOCKS):
        self.layers.add_module(f"pool{block}", nn.MaxPool2d(2))
    for name, values in {"mean": _MEAN, "std": _STD}.items():
      tensor = torch.tensor(values)[None, :, None, None]
      self.register_buffer(name, tensor)
    self.requires_grad_(False)

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """Features [b 512 h/8 w/8] of images [b 1 h w] in [-1, 1]."""
    image = image.expand(-1, 3, -1, -1)
    return self.layers((0.5 * image + 0.5 - self.mean) / self.std)


def distance(features: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
  """The relative L1 distance of features, the mean over the batch."""
  apart = (features - found).abs().mean((1, 2, 3))
  return (apart / features.abs().mean((1, 2, 3)).detach()).mean()


class Eager(torch_side.TorchSide):
  """The official code's way, which users run today; it has no options."""

  def __init__(self, protocol: Protocol, options: dict[str, Any]):
    super().__init__(protocol)
    del options

  def parts(self) -> list[Part]:
    """Training alone."""
    return torch_side.training_part(self.protocol)

  def _make(self, part):
    del part  # there is one
    net, features = (x.to(self.device) for x in build(self.protocol))
    loader = torch_side.batches(self.protocol)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    return self.eager(lambda x: _loss(net, features, x), optimizer, loader)


class Tuned(torch_side.TunedTraining):
  """The code as a good PyTorch engineer would write it; see `TunedSide`."""

  def _train(self, form: Form):
    net, features = (self.placed(x, form) for x in build(self.protocol))

    def loss(at):
      image = form.ordered(torch_nets.normalize(self.images[at[0]]))
      return _loss(net, features, image)

    return torch_side.training(
      self.compiled(loss, form, net, features),
      torch_side.adam(net, RATE, 0.9),
      self.rows(len(self.images), self.protocol.batch),
    )


def build(protocol: Protocol) -> tuple[nn.Module, nn.Module]:
  """The net in training, and the frozen one."""
  levels = protocol.size.bit_length() - 2  # down to 4x4
  net = Autoencoder(protocol.size, (WIDE,) * levels, WIDE)
  return net.train(), Features().eval()


def _loss(net, features, image):
  with torch.no_grad():
    real = features(image)
  return distance(real, features(net(image)))


def _active(x):
  return F.leaky_relu(x, _SLOPE)
