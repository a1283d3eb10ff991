"""The convolutional autoencoders of DDAD-ASR and of MedIAnomaly.

DDAD-ASR: Cai et al., Medical Image Analysis 2023, arXiv 2210.04227.
MedIAnomaly: Cai et al., Medical Image Analysis 2025, arXiv 2404.04518. They
compute the same and have other names.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
import torch.nn.functional as F

_LEVELS = range(1, 5)  # four halvings
_TINY = 1e-12


class Autoencoder(nn.Module):
  """DDAD-ASR's AE, AE-U and MemAE.

  Args:
    width: channels of the first layer.
    latent: length of the code.
    hidden: width of the dense layers.
    side: of the images.
    channels: of the images.
    slots: items in memory, None for no memory.
    threshold: attention below which an item is not used.
    variance: whether there is a second output, the log-variance.
  """

  def __init__(
    self,
    width: int = 16,
    latent: int = 16,
    hidden: int = 2048,
    side: int = 64,
    channels: int = 1,
    slots: int | None = None,
    threshold: float = 0.0,
    variance: bool = False,
  ):
    super().__init__()
    widths = [width, 2 * width, 4 * width, 4 * width]
    self.map = (widths[-1], side // 16, side // 16)
    flat = widths[-1] * (side // 16) ** 2
    self.encoder = nn.Sequential(
      *_layers(nn.Conv2d, [channels, *widths], last=True)
    )
    self.linear_enc = _dense(flat, hidden, latent)
    if slots is not None:
      self.mem_rep = _Holder(Memory(slots, latent, threshold))
    self.linear_dec = _dense(latent, hidden, flat)
    back = [*widths[::-1], channels * (2 if variance else 1)]
    self.decoder = nn.Sequential(*_layers(nn.ConvTranspose2d, back, last=False))

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """The reconstruction and, behind it, the log-variance; both unbounded."""
    code = self.linear_enc(self.encoder(image).flatten(1))
    if hasattr(self, "mem_rep"):
      code, _ = self.mem_rep.memory(code)
    return self.decoder(self.linear_dec(code).unflatten(1, self.map))


class Published(nn.Module):
  """MedIAnomaly's AE and its relatives.

  Args:
    width: channels of the first layer.
    latent: length of the code.
    hidden: width of the dense layers.
    down_depth: convolutions a level of the encoder.
    up_depth: convolutions a level of the decoder.
    side: of the images.
    channels: of the images.
    spatial: whether the code keeps its places.
    drawn: whether the code is drawn from a distribution (VAE).
    slots: items in memory, None for no memory.
    threshold: attention below which an item is not used.
    variance: whether there is a second output, the log-variance.
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
    spatial: bool = False,
    drawn: bool = False,
    slots: int | None = None,
    threshold: float = 0.0,
    variance: bool = False,
  ):
    super().__init__()
    self.drawn, self.spatial = drawn, spatial
    last = down(self, channels, width, down_depth)
    self.map = (last, side // 16, side // 16)
    flat = last if spatial else last * (side // 16) ** 2
    dense = _pointwise if spatial else _dense
    self.bottle_neck = nn.Module()
    self.bottle_neck.linear_enc = dense(
      flat, hidden, latent * (2 if drawn else 1)
    )
    if slots is not None:
      self.bottle_neck.memory_module = _Holder(Memory(slots, latent, threshold))
    self.bottle_neck.linear_dec = dense(latent, hidden, flat)
    up(self, width, channels * (2 if variance else 1), up_depth)

  def forward(
    self, image: torch.Tensor, noise: torch.Tensor | None = None
  ) -> torch.Tensor:
    """The reconstruction and, behind it, the log-variance; both unbounded.

    Args:
      image: [b c h w].
      noise: of codes that are drawn, [b z]; None for the mean code.
    """
    code = self.encode(image)
    if self.drawn:
      code, log_var = code.chunk(2, 1)
      if noise is not None:
        code = code + noise * torch.exp(log_var / 2)
    if hasattr(self.bottle_neck, "memory_module"):
      code, _ = self.bottle_neck.memory_module.memory(code)
    x = self.bottle_neck.linear_dec(code)
    return upward(self, x if self.spatial else x.unflatten(1, self.map))

  def encode(self, image: torch.Tensor) -> torch.Tensor:
    """The code; of one that is drawn the mean and the log-variance."""
    x = downward(self, image)
    return self.bottle_neck.linear_enc(x if self.spatial else x.flatten(1))


class Memory(nn.Module):
  """A mixture of stored codes in place of a code (Gong et al., ICCV 2019)."""

  def __init__(self, slots: int, latent: int, threshold: float):
    super().__init__()
    self.threshold = threshold
    bound = latent**-0.5
    self.weight = nn.Parameter(torch.empty(slots, latent))
    nn.init.uniform_(self.weight, -bound, bound)

  def forward(self, code: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mixture, and the attention to each item."""
    attention = torch.softmax(code @ self.weight.T, 1)
    if self.threshold > 0:
      excess = attention - self.threshold
      attention = F.relu(excess) * attention / (excess.abs() + _TINY)
      attention = F.normalize(attention, 1, 1, eps=_TINY)
    return attention @ self.weight, attention


def down(net: nn.Module, channels: int, width: int, depth: int) -> int:
  """Adds the levels `en_block1` ... to a net; returns the last one's channels.

  Args:
    net: gets them as attributes.
    channels: of the images.
    width: channels of the first level.
    depth: convolutions a level.
  """
  given = channels
  for level, multiple in zip(_LEVELS, (1, 2, 4, 4), strict=True):
    made = width * multiple
    layers = [*_halving(nn.Conv2d, given, made), nn.ReLU()]
    for _ in range(depth - 1):
      layers += [*_keeping(made), nn.ReLU()]
    setattr(net, f"en_block{level}", _Block(layers))
    given = made
  return given


def up(net: nn.Module, width: int, channels: int, depth: int) -> None:
  """Adds the levels `de_block1` ... to a net.

  Args:
    net: gets them as attributes.
    width: channels of the encoder's first level.
    channels: of the outputs.
    depth: convolutions a level.
  """
  made = [4 * width, 2 * width, width, channels]
  given = [4 * width, *made[:-1]]
  for level, i, o in zip(_LEVELS, given, made, strict=True):
    layers = []
    for _ in range(depth - 1):
      layers += [*_keeping(i), nn.ReLU()]
    last = level == _LEVELS[-1]
    convolution, *norm = _halving(nn.ConvTranspose2d, i, o)
    layers += [convolution] if last else [convolution, *norm, nn.ReLU()]
    setattr(net, f"de_block{level}", _Block(layers))


def downward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
  """The features of images after the levels of `down`."""
  for level in _LEVELS:
    x = getattr(net, f"en_block{level}").model(x)
  return x


def upward(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
  """The images of features after the levels of `up`."""
  for level in _LEVELS:
    x = getattr(net, f"de_block{level}").model(x)
  return x


class _Block(nn.Module):
  """Layers under the name `model`."""

  def __init__(self, layers: list[nn.Module]):
    super().__init__()
    self.model = nn.Sequential(*layers)


class _Holder(nn.Module):
  """A memory under the name `memory`."""

  def __init__(self, memory: Memory):
    super().__init__()
    self.memory = memory


def _halving(kind: Any, given: int, made: int) -> list[nn.Module]:
  """A convolution that halves or doubles the sides, and its norm."""
  return [
    kind(given, made, 4, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(made),
  ]


def _keeping(channels: int) -> list[nn.Module]:
  convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
  return [convolution, nn.BatchNorm2d(channels)]


def _layers(kind: Any, widths: list[int], last: bool) -> Iterator[nn.Module]:
  """Convolutions, each but perhaps the last with norm and ReLU."""
  for i, (given, made) in enumerate(zip(widths, widths[1:], strict=False)):
    convolution, norm = _halving(kind, given, made)
    yield convolution
    if last or i < len(widths) - 2:
      yield norm
      yield nn.ReLU()


def _dense(given: int, hidden: int, made: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Linear(given, hidden),
    nn.BatchNorm1d(hidden),
    nn.ReLU(),
    nn.Linear(hidden, made),
  )


def _pointwise(given: int, hidden: int, made: int) -> nn.Sequential:
  return nn.Sequential(
    nn.Conv2d(given, hidden, 1, bias=False),
    nn.BatchNorm2d(hidden),
    nn.ReLU(),
    nn.Conv2d(hidden, made, 1, bias=False),
  )
