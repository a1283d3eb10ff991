"""f-AnoGAN's nets (Schlegl et al., Medical Image Analysis 54 (2019)).

Its own code is in TensorFlow 1, whose batch normalization adds 1e-3.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
import torch.nn.functional as F

Norm = Literal["batch", "layer"]


class Fanogan(nn.Module):
  """The nets `generator`, `discriminator` and `encoder`.

  Args:
    widths: channels of the resolutions, from that of the images down to 4x4.
    latent: length of the code.
    channels: of the images.
  """

  def __init__(self, widths: Sequence[int], latent: int, channels: int):
    super().__init__()
    self.generator = _Generator(widths[::-1], latent, channels)
    self.discriminator = _Downward(widths, 1, channels, "layer")
    self.encoder = _Downward(widths, latent, channels, "batch")

  def encode(self, image: torch.Tensor) -> torch.Tensor:
    """Codes [b z] in (-1, 1)."""
    return torch.tanh(self.encoder.output(self.encoder.features(image)))


class _Generator(nn.Module):
  """Images [b c h w] in (-1, 1) from codes."""

  def __init__(self, widths: Sequence[int], latent: int, channels: int):
    super().__init__()
    first, *rest = widths
    self.map = (first, 4, 4)
    self.input = nn.Linear(latent, 16 * first)
    self.count, given = len(rest), first
    for place, made in enumerate(rest, 1):
      setattr(self, f"res{place}", _Block(given, made, True, "batch"))
      given = made
    self.output_norm = _norm(given, "batch")
    self.output = nn.Conv2d(given, channels, 3, padding=1)

  def forward(self, code: torch.Tensor) -> torch.Tensor:
    x = self.input(code).unflatten(1, self.map)
    for place in range(1, self.count + 1):
      x = getattr(self, f"res{place}")(x)
    return torch.tanh(self.output(F.relu(self.output_norm(x))))


class _Downward(nn.Module):
  """Critic and encoder."""

  def __init__(self, widths: Sequence[int], made: int, channels: int, norm):
    super().__init__()
    first, *rest = widths
    self.input = nn.Conv2d(channels, first, 3, padding=1)
    self.count, given = len(rest), first
    for place, width in enumerate(rest, 1):
      setattr(self, f"res{place}", _Block(given, width, False, norm))
      given = width
    self.output = nn.Linear(16 * given, made)

  def features(self, image: torch.Tensor) -> torch.Tensor:
    """The features before the linear layer, [b m]."""
    x = self.input(image)
    for place in range(1, self.count + 1):
      x = getattr(self, f"res{place}")(x)
    return x.flatten(1)

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    return self.output(self.features(image))


class _Block(nn.Module):
  """A residual block that doubles or halves the sides."""

  def __init__(self, given: int, made: int, upward: bool, norm: Norm):
    super().__init__()
    self.upward, middle = upward, made if upward else given
    self.shortcut = nn.Conv2d(given, made, 1)
    self.norm1 = _norm(given, norm)
    self.conv1 = nn.Conv2d(given, middle, 3, padding=1, bias=False)
    self.norm2 = _norm(middle, norm)
    self.conv2 = nn.Conv2d(middle, made, 3, padding=1)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    y = F.relu(self.norm1(x))
    if self.upward:
      y = F.interpolate(y, scale_factor=2)
    y = self.conv2(F.relu(self.norm2(self.conv1(y))))
    if self.upward:
      return y + F.interpolate(self.shortcut(x), scale_factor=2)
    return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))


def _norm(channels: int, norm: Norm) -> nn.Module:
  if norm == "layer":
    return nn.GroupNorm(1, channels)  # over pixels and channels
  return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
