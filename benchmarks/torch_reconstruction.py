"""One net of MedIAnomaly in PyTorch, eager and tuned (arXiv 2404.04518).

`Eager` is the published loop: a data loader in the process itself, images in
memory at their final size, the loss read at every step. `Tuned` has uint8
images on the device, drawn and normalized there, fused Adam, TF32, and
`torch.compile` or channels_last where a short trial finds that they pay.

`net` is "ae" or "dae" throughout.
"""

from typing import Any

import torch
from torch import nn

from benchmarks import torch_nets, torch_side
from benchmarks.protocol import Part, Protocol
from benchmarks.torch_side import Form
from medad_jax.mirrors import autoencoder, unet


class Eager(torch_side.TorchSide):
  """The official code's way, which users run today; it has no options."""

  def __init__(self, net: str, protocol: Protocol, options: dict[str, Any]):
    super().__init__(protocol)
    del options
    self._net = net

  def parts(self) -> list[Part]:
    """Training alone."""
    return torch_side.training_part(self.protocol)

  def _make(self, part):
    del part  # there is one
    net = _build(self._net, self.protocol).to(self.device)
    loader = torch_side.batches(self.protocol)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    return self.eager(
      lambda image: _loss(self._net, net, image), optimizer, loader
    )


class Tuned(torch_side.TunedTraining):
  """The code as a good PyTorch engineer would write it; see `TunedSide`."""

  def __init__(
    self,
    net: str,
    protocol: Protocol,
    compiles: bool,
    options: dict[str, Form],
  ):
    super().__init__(protocol, compiles, options)
    self._net = net

  def _train(self, form: Form):
    net = self.placed(_build(self._net, self.protocol), form)

    def loss(at):
      image = form.ordered(torch_nets.normalize(self.images[at[0]]))
      return _loss(self._net, net, image)

    return torch_side.training(
      self.compiled(loss, form, net),
      torch_side.adam(net, 1e-3, 0.9),
      self.rows(len(self.images), self.protocol.batch),
    )


def _build(net: str, protocol: Protocol) -> nn.Module:
  """The net in training."""
  if net == "dae":
    return unet.UNet().train()
  return autoencoder.Autoencoder(hidden=1024, side=protocol.size).train()


def _loss(name: str, net: nn.Module, image: torch.Tensor) -> torch.Tensor:
  given = image
  if name == "dae":  # learns to remove coarse noise
    shift = torch.randint(image.shape[-1], (2,), device=image.device)
    given = torch_nets.coarse_noise(image, shift)
  return torch_nets.squared_error(net(given), image)
