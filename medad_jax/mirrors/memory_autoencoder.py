"""MemAE's own net (Gong et al., ICCV 2019), for images instead of videos."""

from collections.abc import Sequence

import torch
from torch import nn

from medad_jax.mirrors.autoencoder import Memory


class MemoryAutoencoder(nn.Module):
  """Convolutions around a memory of the features of single places.

  Args:
    channels: of the encoder's levels.
    slots: items in memory.
    threshold: attention below which an item is not used.
    colors: channels of the images.
  """

  def __init__(
    self, channels: Sequence[int], slots: int, threshold: float, colors: int
  ):
    super().__init__()
    forth, back = [colors, *channels], [*channels[::-1], colors]
    self.encoder = nn.Sequential(*_layers(forth, transposed=False))
    self.mem_rep = nn.Module()
    self.mem_rep.memory = Memory(slots, channels[-1], threshold)
    self.decoder = nn.Sequential(*_layers(back, transposed=True)[:-2])

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """The reconstruction, unbounded."""
    x = self.encoder(image).permute(0, 2, 3, 1)
    mixed, _ = self.mem_rep.memory(x.flatten(0, 2))
    return self.decoder(mixed.reshape(x.shape).permute(0, 3, 1, 2))


def _layers(widths: Sequence[int], transposed: bool) -> list[nn.Module]:
  found: list[nn.Module] = []
  for given, made in zip(widths, widths[1:], strict=False):
    if transposed:
      convolution = nn.ConvTranspose2d(
        given, made, 3, stride=2, padding=1, output_padding=1
      )
    else:
      convolution = nn.Conv2d(given, made, 3, stride=2, padding=1)
    found += [convolution, nn.BatchNorm2d(made), nn.LeakyReLU(0.2)]
  return found
