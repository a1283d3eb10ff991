"""Images of the PyTorch baselines, plain and with pasted anomalies.

A square of another image is blended into half of the images (Cai et al.,
Medical Image Analysis 2023, arXiv 2210.04227): image by image in a data
loader's worker as the published code does, or a batch at once on the device.
"""

import numpy as np
import torch
from torch.utils import data

from benchmarks import torch_nets


class Images(data.Dataset):
  """uint8 images [n h w] as [1 h w] in [-1, 1]."""

  def __init__(self, images: np.ndarray):
    self._images = images

  def __len__(self):
    return len(self._images)

  def __getitem__(self, i):
    return torch_nets.normalize(torch.from_numpy(self._images[i]))[None]


class Pasted(Images):
  """Images of which half have a square of another image, and its mask."""

  def __getitem__(self, i):
    image = super().__getitem__(i)
    side = image.shape[-1]
    mask = torch.zeros(side, side, dtype=torch.int64)
    if np.random.rand() <= 0.5:
      return image, mask
    row, column = np.random.randint(int(0.1 * side), int(0.9 * side), 2)
    half = np.random.randint(round(0.05 * side), round(0.2 * side))
    alpha = torch.rand(1)
    other = i
    while other == i:
      other = np.random.randint(len(self))
    source = super().__getitem__(other)
    box = (
      slice(max(row - half, 0), row + half),
      slice(max(column - half, 0), column + half),
    )
    mask[box] = 1
    return torch.where(mask > 0, torch.lerp(image, source, alpha), image), mask


def paste(
  image: torch.Tensor, source: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
  """The batched `Pasted`: [b 1 h w] to images and masks [b h w]."""
  b, _, side, _ = image.shape
  device = image.device

  def draw(low, high):
    return torch.randint(low, high, (b, 1), device=device)

  half = draw(round(0.05 * side), round(0.2 * side))
  place = torch.arange(side, device=device)

  def near():
    center = draw(int(0.1 * side), int(0.9 * side))
    return (place >= center - half) & (place < center + half)

  on = torch.rand(b, 1, 1, device=device) > 0.5
  mask = near()[:, :, None] & near()[:, None, :] & on
  alpha = torch.rand(b, 1, 1, 1, device=device)
  return torch.where(mask[:, None], image.lerp(source, alpha), image), mask
