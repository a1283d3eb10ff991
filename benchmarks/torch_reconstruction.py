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
from torch.utils import data

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
    return _parts(self.protocol)

  def _make(self, part):
    del part  # there is one
    net = _build(self._net, self.protocol).to(self.device)
    loader = data.DataLoader(
      torch_nets.Images(self.protocol.training_images()),
      self.protocol.batch,
      shuffle=True,
      drop_last=True,
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    return self.eager(
      lambda image: _loss(self._net, net, image), optimizer, loader
    )


class Tuned(torch_side.TunedSide):
  """The code as a good PyTorch engineer would write it; see `TunedSide`."""

  FORMS = (
    Form(),
    Form(channels_last=True),
    Form(compiled=True),
    Form(compiled=True, channels_last=True),
  )

  def __init__(
    self,
    net: str,
    protocol: Protocol,
    compiles: bool,
    options: dict[str, Form],
  ):
    super().__init__(protocol, compiles, options)
    self._net = net

  def parts(self) -> list[Part]:
    """Training alone."""
    return _parts(self.protocol)

  def trials(self):
    """Trials of the one net."""
    return {"training": lambda form: (self._train(form), 1)}

  def _make(self, part):
    return self._train(self.options[part.phase])

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


def _parts(protocol: Protocol) -> list[Part]:
  return [Part("training", "steps", protocol.normative_steps)]


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
