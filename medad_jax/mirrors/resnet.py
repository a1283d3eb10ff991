"""The self-supervised methods' nets, around ResNet18 (He et al., CVPR 2016).

The segmenter is NSA's for chest X-rays (Schlüter et al., ECCV 2022), the
classifier CutPaste's (Li et al., CVPR 2021), both as in MedIAnomaly.
"""

import torch
from torch import nn
import torch.nn.functional as F


class EncoderDecoder(nn.Module):
  """One number a pixel, before its last function.

  Args:
    width: channels of the first stage.
    channels: of the images.
  """

  def __init__(self, width: int, channels: int):
    super().__init__()
    _stages(self, width, channels)
    self.nin = nn.Sequential(
      nn.Conv2d(8 * width, 4 * width, 1, bias=False),
      nn.ReLU(),
      nn.Conv2d(4 * width, 2 * width, 1, bias=False),
      nn.ReLU(),
    )
    given = 2 * width
    for level in range(3):
      made = width >> level
      block = nn.Sequential(_UpBlock(given, made))
      setattr(self, f"uplayer{level + 1}", block)
      given = made
    self.convtranspose1 = nn.ConvTranspose2d(
      given, 1, 7, stride=2, padding=3, output_padding=1, bias=False
    )

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """The map [b 1 h w]."""
    x = self.nin(_staged(self, image))
    for level in (1, 2, 3):
      x = getattr(self, f"uplayer{level}")(x)
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    return self.convtranspose1(x)


class Projection(nn.Module):
  """Features, and the logits of the kind of image.

  Args:
    classes: kinds of images.
    layers: of the head, without its last one.
    width: channels of the first stage.
    channels: of the images.
  """

  def __init__(self, classes: int, layers: int, width: int, channels: int):
    super().__init__()
    self.resnet18 = nn.Module()
    _stages(self.resnet18, width, channels)
    widths = [8 * width] * (layers + 1) + [2 * width]
    head: list[nn.Module] = []
    for given, made in zip(widths, widths[1:], strict=False):
      head += [nn.Linear(given, made), nn.BatchNorm1d(made), nn.ReLU()]
    self.head = nn.Sequential(*head)
    self.out = nn.Linear(2 * width, classes)

  def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [b f] and logits [b classes]."""
    features = _staged(self.resnet18, image).mean((2, 3))
    return features, self.out(self.head(features))


class _Block(nn.Module):
  """Two 3x3 convolutions beside a shortcut."""

  def __init__(self, given: int, made: int, stride: int):
    super().__init__()
    self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
    self.bn1 = nn.BatchNorm2d(made)
    self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(made)
    self.downsample = None
    if stride > 1 or given != made:
      self.downsample = nn.Sequential(
        nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made)
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Images of 1/stride of the sides."""
    y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
    return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class _UpBlock(nn.Module):
  """The same with transposed convolutions, which double the sides."""

  def __init__(self, given: int, made: int):
    super().__init__()
    self.conv1 = nn.ConvTranspose2d(
      given, made, 3, stride=2, padding=1, output_padding=1, bias=False
    )
    self.bn1 = nn.BatchNorm2d(made)
    self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(made)
    self.upsample = nn.Sequential(
      nn.ConvTranspose2d(
        given, made, 1, stride=2, output_padding=1, bias=False
      ),
      nn.BatchNorm2d(made),
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Images of twice the sides."""
    y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
    return F.relu(y + self.upsample(x))


def _stages(net: nn.Module, width: int, channels: int) -> None:
  """Adds ResNet18's layers before the mean to a net."""
  net.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
  net.bn1 = nn.BatchNorm2d(width)
  given = width
  for level in range(4):
    made, stride = width << level, 2 if level else 1
    blocks = _Block(given, made, stride), _Block(made, made, 1)
    setattr(net, f"layer{level + 1}", nn.Sequential(*blocks))
    given = made


def _staged(net: nn.Module, image: torch.Tensor) -> torch.Tensor:
  x = F.max_pool2d(F.relu(net.bn1(net.conv1(image))), 3, 2, 1)
  for level in range(1, 5):
    x = getattr(net, f"layer{level}")(x)
  return x
