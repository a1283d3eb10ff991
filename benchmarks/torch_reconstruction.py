"""One net of MedIAnomaly in PyTorch, eager and tuned (arXiv 2404.04518).

`Eager` is the published loop: a data loader in the process itself, images in
memory at their final size, the loss read at every step. `Tuned` has uint8
images on the device, drawn and normalized there, fused Adam, TF32, and
`torch.compile` or channels_last where a short trial finds that they pay.
"""

from typing import Any

import torch
from torch import nn
from torch.utils import data

from benchmarks import torch_images, torch_nets, torch_side
from benchmarks.protocol import Part, Protocol
from benchmarks.torch_side import Form


class Eager(torch_side.TorchSide):
  """The official code's way, which users run today.

  Args:
    net: "ae" or "dae".
    protocol: images, batch, size and epochs.
    options: none.
  """

  def __init__(self, net: str, protocol: Protocol, options: dict[str, Any]):
    super().__init__()
    del options
    self._net, self._protocol = net, protocol

  def parts(self) -> list[Part]:
    """Training alone."""
    return _parts(self._protocol)

  def _make(self, part):
    del part  # there is one
    net = _build(self._net, self._protocol).to(self.device)
    loader = data.DataLoader(
      torch_images.Images(self._protocol.training_images()),
      self._protocol.batch,
      shuffle=True,
      drop_last=True,
    )

    def loss(image):
      x_hat = net(_corrupt(self._net, image))
      return torch_nets.squared_error(x_hat, image)

    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    return torch_side.eager(loss, optimizer, loader, self.device)


class Tuned(torch_side.TunedSide):
  """The code as a good PyTorch engineer would write it.

  Args:
    net: "ae" or "dae".
    protocol: images, batch, size and epochs.
    compiles: whether `torch.compile` may be tried.
    options: {"training": form}, from `choose`.
  """

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
    net = _build(self._net, self.protocol)
    net = torch_side.placed(net, form, self.device)
    shuffled = torch_side.rows(
      len(self.images), self.protocol.batch, 1, self.device
    )

    def loss(at):
      image = torch_nets.normalize(self.images[at[0]])
      image = torch_side.ordered(image, form)
      x_hat = net(_corrupt(self._net, image))
      return torch_nets.squared_error(x_hat, image)

    call = self.compiled(loss, form, net)
    optimizer = torch_side.adam(net, 1e-3, 0.9)
    return torch_side.training(call, optimizer, shuffled)


def _parts(protocol: Protocol) -> list[Part]:
  return [Part("training", "steps", protocol.normative_steps)]


def _build(net: str, protocol: Protocol) -> nn.Module:
  """The net in training."""
  if net == "dae":
    return torch_nets.UNet().train()
  return torch_nets.Autoencoder(hidden=1024, side=protocol.size).train()


def _corrupt(net: str, image: torch.Tensor) -> torch.Tensor:
  """Training inputs of the net; DAE's have coarse noise."""
  if net == "ae":
    return image
  shift = torch.randint(image.shape[-1], (2,), device=image.device)
  return torch_nets.coarse_noise(image, shift)
