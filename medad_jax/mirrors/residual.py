"""DPA's and PIAD's nets (IEEE Access 2021, arXiv 2006.13265; arXiv 1909.05904).

Blocks activate before their convolutions, and no layer normalizes.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn
import torch.nn.functional as F

_CODE = 4  # side of the innermost map where the code has one pixel


class Autoencoder(nn.Module):
  """Encoder `enc` and decoder `dec`.

  Args:
    channels: of the encoder, the innermost resolution last.
    decoder_channels: of the decoder, the innermost resolution first.
    latent: channels of the code.
    latent_side: pixels a side of the code.
    depth: blocks a resolution.
    side: of the images.
    colors: channels of the images.
  """

  def __init__(
    self,
    channels: Sequence[int],
    decoder_channels: Sequence[int],
    latent: int,
    latent_side: int,
    depth: int,
    side: int,
    colors: int,
  ):
    super().__init__()
    inner = max(latent_side, _CODE)
    self.enc, self.dec = nn.Module(), nn.Module()
    self.enc.model = _encoder(
      channels[::-1], latent, latent_side, inner, depth, side, colors
    )
    self.dec.model = _decoder(
      decoder_channels, latent, latent_side, inner, depth, side, colors
    )

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    """The reconstruction, unbounded."""
    return self.dec.model(self.enc.model(image))


class _Layer(nn.Module):
  """A layer under the name `model.0`."""

  def __init__(self, layer: nn.Module):
    super().__init__()
    self.model = nn.Sequential(layer)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.model(x)


class _Resized(nn.Module):
  """A block whose branches change the sides first, which PyTorch counts."""

  def __init__(self, given: int, made: int, resize: Callable[[], nn.Module]):
    super().__init__()
    self.model = nn.Sequential(
      nn.LeakyReLU(0.2),
      resize(),
      _Layer(nn.Conv2d(given, made, 3, padding=1)),
      _Active(made),
    )
    skip: list[nn.Module] = [resize()]
    if given != made:
      skip.append(_Layer(nn.Conv2d(given, made, 1)))
    self.skipcon = nn.Sequential(*skip)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.skipcon(x) + self.model(x)


class _Active(nn.Module):
  """An activation, then a convolution under the name `model.0`."""

  def __init__(self, channels: int):
    super().__init__()
    self.model = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.model(F.leaky_relu(x, 0.2))


class _Block(nn.Module):
  """A block at one resolution."""

  def __init__(self, given: int, made: int):
    super().__init__()
    self.model = nn.Sequential(
      nn.LeakyReLU(0.2),
      _Layer(nn.Conv2d(given, made, 3, padding=1)),
      _Active(made),
    )
    self.skipcon = nn.Identity()
    if given != made:
      self.skipcon = _Layer(nn.Conv2d(given, made, 1))

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    return self.skipcon(x) + self.model(x)


def _encoder(widths, latent, latent_side, inner, depth, side, colors):
  """The layers; `widths` begins with the innermost resolution's."""
  model = nn.Sequential()
  wide = widths[(side // inner).bit_length() - 1]
  first = [_Layer(nn.Conv2d(colors, wide, 3, padding=1))]
  first += [_Block(wide, wide) for _ in range(depth)]
  model.add_module(f"preprocess_res_{side}", nn.Sequential(*first))
  while side > inner:
    made = widths[(side // inner).bit_length() - 2]
    blocks = [_Resized(wide, made, lambda: nn.AvgPool2d(2))]
    blocks += [_Block(made, made) for _ in range(depth - 1)]
    model.add_module(f"res_{side}", nn.Sequential(*blocks))
    wide, side = made, side // 2
  last = [_Block(wide, latent)]
  if latent_side == 1:
    last = [nn.LeakyReLU(0.2), _Layer(nn.Conv2d(wide, latent, _CODE))]
  model.add_module(f"res_{side}", nn.Sequential(*last))
  return model


def _decoder(widths, latent, latent_side, inner, depth, side, colors):
  """The layers; `widths` begins with the innermost resolution's."""
  model, wide = nn.Sequential(), widths[0]
  first = [_Block(latent, wide)]
  if latent_side == 1:
    layer = _Layer(nn.Conv2d(latent, wide, _CODE, padding=_CODE - 1))
    first = [nn.LeakyReLU(0.2), layer]
  model.add_module(f"res_{inner}", nn.Sequential(*first))
  at = inner
  while at < side:
    at *= 2
    made = widths[(at // inner).bit_length() - 1]
    blocks = [_Resized(wide, made, lambda: nn.Upsample(scale_factor=2))]
    blocks += [_Block(made, made) for _ in range(depth - 1)]
    model.add_module(f"res_{at}", nn.Sequential(*blocks))
    wide = made
  last = _Layer(nn.Conv2d(wide, colors, 3, padding=1))
  model.add_module(
    f"postprocess_res_{side}", nn.Sequential(nn.LeakyReLU(0.2), last)
  )
  return model
