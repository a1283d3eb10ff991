"""GANomaly's nets: MedIAnomaly's variant, and those of its own code.

Akcay et al., ACCV 2018, arXiv 1805.06725. A `forward` returns the image, its
code and the code of the image made; scores need no discriminator.
"""

import torch
from torch import nn

from medad_jax.mirrors import autoencoder

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Ganomaly(nn.Module):
  """MedIAnomaly's generator `netg` and discriminator `netd`.

  Args:
    width: channels of the first layer.
    latent: length of the code.
    hidden: width of the dense layers.
    down_depth: convolutions a level of the encoders.
    up_depth: convolutions a level of the decoder and the discriminator.
    side: of the images.
    channels: of the images.
  """

  def __init__(
    self,
    width: int,
    latent: int,
    hidden: int,
    down_depth: int,
    up_depth: int,
    side: int,
    channels: int,
  ):
    super().__init__()
    flat = 4 * width * (side // 16) ** 2
    self.map = (4 * width, side // 16, side // 16)
    self.netg = nn.Module()
    for name in ("encoder1", "encoder2"):
      encoder = nn.Module()
      autoencoder.down(encoder, channels, width, down_depth)
      encoder.linear_enc = _dense(flat, hidden, latent)
      setattr(self.netg, name, encoder)
    self.netg.decoder = nn.Module()
    self.netg.decoder.linear_dec = _dense(latent, hidden, flat)
    autoencoder.up(self.netg.decoder, width, channels, up_depth)
    self.netd = nn.Module()
    autoencoder.down(self.netd, channels, width, up_depth)
    self.netd.features = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU())
    self.netd.classifier = nn.Sequential(nn.Linear(hidden, 1), nn.Sigmoid())

  def forward(self, image: torch.Tensor) -> Outputs:
    """The reconstruction, the code, and the reconstruction's."""
    code = self._encode(self.netg.encoder1, image)
    x = self.netg.decoder.linear_dec(code).unflatten(1, self.map)
    x_hat = autoencoder.upward(self.netg.decoder, x)
    return x_hat, code, self._encode(self.netg.encoder2, x_hat)

  def _encode(self, encoder, image):
    return encoder.linear_enc(autoencoder.downward(encoder, image).flatten(1))


class Original(nn.Module):
  """The generator `netg` and the discriminator `netd` of GANomaly's own code.

  Args:
    width: channels of the first layer.
    latent: length of the code.
    side: of the images, 4 times a power of two.
    channels: of the images.
  """

  def __init__(self, width: int, latent: int, side: int, channels: int):
    super().__init__()
    widths = [width]
    while side >> len(widths) > 4:
      widths.append(2 * widths[-1])
    self.netg = nn.Module()
    for name in ("encoder1", "encoder2"):
      setattr(self.netg, name, _main(_pyramid(channels, widths, latent)))
    self.netg.decoder = _main(_inverse(channels, widths, latent))
    self.netd = nn.Module()
    *features, (_, classifier) = _pyramid(channels, widths, 1)
    self.netd.features = nn.Sequential(*(layer for _, layer in features))
    self.netd.classifier = nn.Sequential(classifier, nn.Sigmoid())

  def forward(self, image: torch.Tensor) -> Outputs:
    """The reconstruction, the code, and the reconstruction's."""
    code = self.netg.encoder1.main(image)
    x_hat = self.netg.decoder.main(code)
    again = self.netg.encoder2.main(x_hat)
    return x_hat, code.flatten(1), again.flatten(1)


def _dense(given: int, hidden: int, made: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, made)
  )


def _main(layers: list[tuple[str, nn.Module]]) -> nn.Module:
  found = nn.Module()
  found.main = nn.Sequential()
  for name, layer in layers:
    found.main.add_module(name, layer)
  return found


def _pyramid(channels: int, widths: list[int], z: int):
  """The encoder's layers by name."""
  first = widths[0]
  layers = [
    (f"initial-conv-{channels}-{first}", _conv(channels, first)),
    (f"initial-relu-{first}", nn.LeakyReLU(0.2)),
  ]
  for given, made in zip(widths, widths[1:], strict=False):
    layers += [
      (f"pyramid-{given}-{made}-conv", _conv(given, made)),
      (f"pyramid-{made}-batchnorm", nn.BatchNorm2d(made)),
      (f"pyramid-{made}-relu", nn.LeakyReLU(0.2)),
    ]
  last = widths[-1]
  final = nn.Conv2d(last, z, 4, bias=False)
  return [*layers, (f"final-{last}-1-conv", final)]


def _inverse(channels: int, widths: list[int], z: int):
  """The decoder's layers by name."""
  first, *rest = widths[::-1]
  layers = [
    (
      f"initial-{z}-{first}-convt",
      nn.ConvTranspose2d(z, first, 4, bias=False),
    ),
    (f"initial-{first}-batchnorm", nn.BatchNorm2d(first)),
    (f"initial-{first}-relu", nn.ReLU()),
  ]
  for given, made in zip([first, *rest], rest, strict=False):
    layers += [
      (f"pyramid-{given}-{made}-convt", _transposed(given, made)),
      (f"pyramid-{made}-batchnorm", nn.BatchNorm2d(made)),
      (f"pyramid-{made}-relu", nn.ReLU()),
    ]
  last = widths[0]
  final = _transposed(last, channels)
  return [
    *layers,
    (f"final-{last}-{channels}-convt", final),
    (f"final-{channels}-tanh", nn.Tanh()),
  ]


def _conv(given: int, made: int) -> nn.Conv2d:
  return nn.Conv2d(given, made, 4, stride=2, padding=1, bias=False)


def _transposed(given: int, made: int) -> nn.ConvTranspose2d:
  return nn.ConvTranspose2d(given, made, 4, stride=2, padding=1, bias=False)
