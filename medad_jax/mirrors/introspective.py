"""RA's encoder and decoder (Bercea et al., MIDL 2023). Images are in [0, 1]."""

from collections.abc import Sequence

import torch
from torch import nn
import torch.nn.functional as F


class Reversed(nn.Module):
  """The nets `encoder` and `decoder`.

  Args:
    widths: channels of the levels, each of which halves the sides.
    latent: length of the code.
    projected: whether blocks between levels of equal width have a projection.
    side: of the images.
  """

  def __init__(
    self, widths: Sequence[int], latent: int, projected: bool, side: int
  ):
    super().__init__()
    first, last, inner = widths[0], widths[-1], side >> len(widths)
    self.map = (last, inner, inner)
    self.encoder, self.decoder = nn.Module(), nn.Module()
    self.encoder.main = nn.Sequential(
      nn.Conv2d(1, first, 5, padding=2, bias=False),
      nn.BatchNorm2d(first),
      nn.LeakyReLU(0.2),
      nn.AvgPool2d(2),
    )
    at, given = side // 2, first
    for made in widths[1:]:
      block = _Residual(given, made, projected)
      self.encoder.main.add_module(f"res_in_{at}", block)
      at, given = at // 2, made
      self.encoder.main.add_module(f"down_to_{at}", nn.AvgPool2d(2))
    block = _Residual(last, last, False)
    self.encoder.main.add_module(f"res_in_{at}", block)
    flat = last * inner**2
    self.encoder.fc = nn.Linear(flat, 2 * latent)
    self.decoder.fc = nn.Sequential(nn.Linear(latent, flat), nn.ReLU())
    self.decoder.main = nn.Sequential()
    given = last
    for place, made in enumerate([last, *widths[-2::-1]]):
      block = _Residual(given, made, projected and place > 0)
      self.decoder.main.add_module(f"res_in_{at}", block)
      at, given = 2 * at, made
      self.decoder.main.add_module(f"up_to_{at}", nn.Upsample(scale_factor=2))
    block = _Residual(first, first, False)
    self.decoder.main.add_module(f"res_in_{at}", block)
    self.decoder.main.predict = nn.Conv2d(first, 1, 5, padding=2)

  def encode(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log-variance of codes [b z]."""
    x = self.encoder.main(image).flatten(1)
    mean, log_var = self.encoder.fc(x).chunk(2, 1)
    return mean, log_var

  def decode(self, code: torch.Tensor) -> torch.Tensor:
    """Images [b 1 h w] in [0, 1]."""
    x = self.decoder.fc(code).unflatten(1, self.map)
    return torch.sigmoid(self.decoder.main(x))


class _Residual(nn.Module):
  """Two convolutions beside a shortcut."""

  def __init__(self, given: int, made: int, projected: bool):
    super().__init__()
    self.conv_expand = None
    if projected or given != made:
      self.conv_expand = nn.Conv2d(given, made, 1, bias=False)
    self.conv1 = nn.Conv2d(given, made, 3, padding=1, bias=False)
    self.bn1 = nn.BatchNorm2d(made)
    self.conv2 = nn.Conv2d(made, made, 3, padding=1, bias=False)
    self.bn2 = nn.BatchNorm2d(made)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Images of the same sides."""
    skip = x if self.conv_expand is None else self.conv_expand(x)
    y = F.leaky_relu(self.bn1(self.conv1(x)), 0.2)
    return F.leaky_relu(self.bn2(self.conv2(y)) + skip, 0.2)
