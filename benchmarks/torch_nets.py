"""Nets, losses, maps and images of the PyTorch baselines.

Written from the published architectures: the autoencoder and the refinement net
of DDAD-ASR (Cai et al., Medical Image Analysis 2023, arXiv 2210.04227), and the
U-Net of the denoising autoencoder (Kascenas et al., MIDL 2022, arXiv
2208.01055) as MedIAnomaly sets it. Layers have the names that published
checkpoints use, and PyTorch's initial values, which the references keep.
`tests/benchmarks` holds them to this project's nets, number by number.

Into half of the images a square of another one is blended (Cai et al.), image
by image in a data loader's worker as the published code does, or a batch at
once on the device.

Images are [b c h w] in [-1, 1].
"""

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils import data


class Autoencoder(nn.Module):
  """Four 4x4 convolutions of stride 2, a code between dense layers, back.

  Args:
    width: channels of the first layer.
    latent: length of the code.
    hidden: width of the dense layers.
    side: of the images.
    channels: of the images.
  """

  def __init__(
    self,
    width: int = 16,
    latent: int = 16,
    hidden: int = 2048,
    side: int = 64,
    channels: int = 1,
  ):
    super().__init__()
    widths = [width, 2 * width, 4 * width, 4 * width]
    self.map = (widths[-1], side // 16, side // 16)
    flat = widths[-1] * (side // 16) ** 2
    self.encoder = nn.Sequential(
      *_layers(nn.Conv2d, [channels, *widths], last=True)
    )
    self.linear_enc = _dense(flat, hidden, latent)
    self.linear_dec = _dense(latent, hidden, flat)
    back = [*widths[::-1], channels]
    self.decoder = nn.Sequential(*_layers(nn.ConvTranspose2d, back, last=False))

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """The reconstruction, unbounded."""
    code = self.linear_enc(self.encoder(image).flatten(1))
    return self.decoder(self.linear_dec(code).unflatten(1, self.map))


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


class UNet(nn.Module):
  """Five levels of standardized convolutions, linear output."""

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
    self.block = ConvBlock(2 * made, made)

  def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
    """A map of the skipped one's shape."""
    return self.block(torch.cat([self.up(x), skip], 1))


class ConvBlock(nn.Sequential):
  """Twice: reflected border, standardized convolution, Swish, group norm."""

  def __init__(self, given: int, made: int):
    super().__init__(
      *(
        layer
        for channels in (given, made)
        for layer in (
          StandardizedConv(
            channels, made, 3, padding=1, padding_mode="reflect"
          ),
          nn.SiLU(),
          nn.GroupNorm(_middle_divisor(made), made),
        )
      )
    )


class StandardizedConv(nn.Conv2d):
  """Filters of mean 0 and (Bessel's) deviation 1; 1e-5 is added to it."""

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """The convolution."""
    centered = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
    deviation = centered.std((1, 2, 3), keepdim=True)
    return self._conv_forward(x, centered / (deviation + 1e-5), self.bias)


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


def _layers(kind, widths: list[int], last: bool):
  """Convolutions, each but perhaps the last with norm and ReLU."""
  for i, (given, made) in enumerate(zip(widths, widths[1:], strict=False)):
    yield kind(given, made, 4, stride=2, padding=1, bias=False)
    if last or i < len(widths) - 2:
      yield nn.BatchNorm2d(made)
      yield nn.ReLU()


def _dense(given: int, hidden: int, made: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Linear(given, hidden),
    nn.BatchNorm1d(hidden),
    nn.ReLU(),
    nn.Linear(hidden, made),
  )


def _middle_divisor(number: int) -> int:
  divisors = [n for n in range(1, number + 1) if number % n == 0]
  return divisors[len(divisors) // 2]
