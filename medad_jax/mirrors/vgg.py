"""VGG19 up to a layer, and distances of its features (arXiv 2006.13265)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

_WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
_COUNTS = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Perceptual(nn.Module):
  """Relative L1 distances of the features of images and reconstructions.

  Args:
    kernels: "kernel" [3 3 i o] and "bias" of each convolution, by a name such
      as "conv4_2"; those after the last layer may be absent.
    statistics: "mean" and "scale" of the channels of each compared layer, by
      a name such as "relu4_2".
  """

  def __init__(
    self,
    kernels: Mapping[str, Mapping[str, np.ndarray]],
    statistics: Mapping[str, Mapping[str, np.ndarray]],
  ):
    super().__init__()
    self.convolutions = nn.ModuleDict()
    given = 3
    for block, count in _COUNTS.items():
      for i in range(1, count + 1):
        name = f"conv{block}_{i}"
        if name not in kernels:
          break
        layer = nn.Conv2d(given, _WIDTHS[block], 3, padding=1)
        kernel = np.array(kernels[name]["kernel"]).transpose(3, 2, 0, 1)
        layer.weight.data = torch.from_numpy(kernel.copy())
        layer.bias.data = torch.from_numpy(np.array(kernels[name]["bias"]))
        self.convolutions[name] = layer
        given = _WIDTHS[block]
    self.statistics = {
      layer: {
        name: torch.from_numpy(np.array(values))[None, :, None, None]
        for name, values in known.items()
      }
      for layer, known in statistics.items()
    }

  def features(
    self, image: torch.Tensor, layers: Sequence[str]
  ) -> dict[str, torch.Tensor]:
    """Normalized features of images in [-1, 1], by layer."""
    self.to(image)
    x = image.expand(-1, 3, -1, -1)
    mean, std = (
      torch.tensor(v).to(image)[None, :, None, None] for v in (_MEAN, _STD)
    )
    x = (0.5 * x + 0.5 - mean) / std
    found: dict[str, torch.Tensor] = {}
    block = "1"
    for name, layer in self.convolutions.items():
      if name[4] != block:
        x, block = F.max_pool2d(x, 2), name[4]
      x = F.relu(layer(x))
      if (relu := name.replace("conv", "relu")) in layers:
        known = self.statistics[relu]
        found[relu] = (x - known["mean"].to(x)) / known["scale"].to(x)
    return found

  def map(
    self, image: torch.Tensor, x_hat: torch.Tensor, layers: Sequence[str]
  ) -> torch.Tensor:
    """The mean of the layers' maps at the images' size, [b h w]."""
    one, other = (self.features(x, layers) for x in (image, x_hat))
    maps = []
    for layer in layers:
      size = one[layer].abs().mean((1, 2, 3), keepdim=True)
      distance = ((one[layer] - other[layer]).abs() / size).mean(
        1, keepdim=True
      )
      maps.append(
        F.interpolate(distance, image.shape[2:], mode="bilinear")[:, 0]
      )
    return torch.stack(maps).mean(0)
