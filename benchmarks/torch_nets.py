"""Losses, maps and images of the PyTorch baselines, whose nets are the mirrors.

`medad_jax/mirrors` has the nets, which also certify imported checkpoints.
`tests/benchmarks` holds both to this project's own, number by number.

Into half of the images a square of another one is blended (Cai et al., Medical
Image Analysis 2023, arXiv 2210.04227), image by image in a data loader's worker
as the published code does, or a batch at once on the device.

Images are [b c h w] in [-1, 1].
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils import data


def normalize(images: torch.Tensor) -> torch.Tensor:
  """uint8 to [-1, 1]."""
  return (images.float() / 255 - 0.5) / 0.5


def squared_error(x_hat: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
  """The mean over everything."""
  return torch.mean((x_hat - image) ** 2)


def focal(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
  """The mean of -(1 - p)^2 ln p, with p softened by 1e-5 on both sides.

  Args:
    logits: [b 2 h w].
    mask: the class of every pixel, 0 or 1, [b h w].
  """
  right = logits.softmax(1).gather(1, mask.long()[:, None])
  p = (1 - 2e-5) * right + 2e-5
  return -torch.mean((1 - p) ** 2 * torch.log(p))


def discrepancies(
  image: torch.Tensor, x_hat: torch.Tensor
) -> dict[str, torch.Tensor]:
  """The maps "rec", "intra" and "inter", each [b 1 h w].

  Args:
    image: [b 1 h w].
    x_hat: reconstructions [k b 1 h w], the UDM's in the first half.
  """
  unknown, normative = x_hat.chunk(2)
  mean = normative.mean(0)
  return {
    "rec": (image - mean) ** 2,
    "intra": normative.std(0),  # divides by k - 1
    "inter": (unknown.mean(0) - mean).abs(),
  }


def refine_input(maps: dict[str, torch.Tensor]) -> torch.Tensor:
  """The refinement net's input, [b 2 h w]."""
  return torch.cat([maps["inter"], maps["intra"]], 1)


def coarse_noise(image: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
  """The image with the denoising autoencoder's noise n as 2n - 1.

  Args:
    image: [b c h w].
    shift: rows and columns by which the noise is rolled, [2], on the device.
  """
  b, c, h, w = image.shape
  drawn = 0.2 * torch.randn(b, c, 16, 16, device=image.device)
  noise = F.interpolate(drawn, (h, w), mode="bilinear", align_corners=True)
  rows, columns = (
    (torch.arange(side, device=image.device) - n) % side
    for side, n in zip((h, w), shift, strict=True)
  )
  return image + 2 * noise[:, :, rows[:, None], columns] - 1


class Images(data.Dataset):
  """uint8 images [n h w] as [1 h w] in [-1, 1]."""

  def __init__(self, images: np.ndarray):
    self._images = images

  def __len__(self):
    return len(self._images)

  def __getitem__(self, i):
    return normalize(torch.from_numpy(self._images[i]))[None]


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
