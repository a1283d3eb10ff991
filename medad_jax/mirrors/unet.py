"""The denoising autoencoder's U-Net (Kascenas et al., MIDL 2022).

As MedIAnomaly sets it: standardized convolutions, reflected borders, group
normalization after Swish.
"""

import torch
from torch import nn
import torch.nn.functional as F


class UNet(nn.Module):
  """Levels of standardized convolutions, linear output.

  Args:
    width: channels of the first level.
    channels: of the images.
    levels: resolutions, the first included.
  """

  def __init__(self, width: int = 64, channels: int = 1, levels: int = 5):
    super().__init__()
    widths = [width << level for level in range(levels)]
    steps = list(zip([channels, *widths[:-1]], widths, strict=True))
    self.down_path = nn.ModuleList(ConvBlock(i, o) for i, o in steps)
    self.up_path = nn.ModuleList(UpBlock(o, i) for i, o in steps[:0:-1])
    self.last = nn.Conv2d(width, channels, 1)

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """An image of the same shape, unbounded."""
    x, skips = image, []
    for level, block in enumerate(self.down_path):
      if level:
        skips.append(x)
        x = F.avg_pool2d(x, 2)
      x = block(x)
    for block in self.up_path:
      x = block(x, skips.pop())
    return self.last(x)


class UpBlock(nn.Module):
  """Twice the sides, the skipped map beside it, convolutions."""

  def __init__(self, given: int, made: int):
    super().__init__()
    self.up = nn.ConvTranspose2d(given, made, 2, stride=2)
    self.conv_block = ConvBlock(2 * made, made)

  def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """A map of the skipped one's shape."""
    return self.conv_block(torch.cat([self.up(x), skip], 1))


class ConvBlock(nn.Module):
  """Twice: reflected border, standardized convolution, Swish, group norm."""

  def __init__(self, given: int, made: int):
    super().__init__()
    self.block = nn.Sequential(
      *(
        layer
        for channels in (given, made)
        for layer in (
          nn.ReflectionPad2d(1),
          StandardizedConv(channels, made, 3),
          nn.SiLU(),
          nn.GroupNorm(_middle_divisor(made), made),
        )
      )
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """A map of the same sides."""
    return self.block(x)


class StandardizedConv(nn.Conv2d):
  """Filters of mean 0 and (Bessel's) deviation 1; 1e-5 is added to it."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """The convolution."""
    centered = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
    deviation = centered.std((1, 2, 3), keepdim=True)
    return self._conv_forward(x, centered / (deviation + 1e-5), self.bias)


def _middle_divisor(number: int) -> int:
  divisors = [n for n in range(1, number + 1) if number % n == 0]
  return divisors[len(divisors) // 2]
