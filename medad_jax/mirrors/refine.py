"""DDAD-ASR's refinement net (Cai et al., Medical Image Analysis 2023)."""

import torch
from torch import nn


class RefineNet(nn.Module):
  """Three 3x3 convolutions on maps [b m h w]: logits [b 2 h w]."""

  def __init__(self, maps: int = 2, width: int = 128):
    super().__init__()
    self.model = nn.Sequential(
      nn.Conv2d(maps, width, 3, padding=1),
      nn.BatchNorm2d(width),
      nn.ReLU(),
      nn.Conv2d(width, width, 3, padding=1),
      nn.BatchNorm2d(width),
      nn.ReLU(),
      nn.Conv2d(width, 2, 3, padding=1),
    )

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    """Logits of normal and abnormal."""
    return self.model(maps)
