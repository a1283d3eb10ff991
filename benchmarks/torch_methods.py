"""RA, PIAD, f-AnoGAN and CutPaste in PyTorch, eager and tuned.

`Eager` is the loop that users run: a data loader in the process itself, each
loss read at every step. `Tuned` has uint8 images on the device, drawn and
normalized there, fused optimizers, TF32, and channels_last where a short trial
finds that it pays. Neither compiles: the critics' penalty differentiates twice,
which `torch.compile` refuses.

`net` is a name of `torch_steps.STEPS` throughout.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from benchmarks import torch_nets, torch_side, torch_steps
from benchmarks.protocol import Part, Protocol
from benchmarks.torch_side import Form


class Eager(torch_side.TorchSide):
  """The way users run PyTorch; it has no options."""

  def __init__(self, net: str, protocol: Protocol, options: dict[str, Any]):
    super().__init__(protocol)
    del options
    self._net = net

  def parts(self) -> list[Part]:
    """Training alone."""
    return torch_side.training_part(self.protocol)

  def _make(self, part):
    del part  # there is one
    step = torch_steps.STEPS[self._net](self.protocol, self._place, _adam)
    batches = torch_side.endless(torch_side.batches(self.protocol))

    def run(amount):
      for _ in range(amount):
        images = (next(batches) for _ in range(step.batches))
        step(*(x.to(self.device) for x in images)).item()
      return amount

    return run

  def _place(self, net):
    return net.to(self.device)


class Tuned(torch_side.TunedTraining):
  """Images on the device, and what PyTorch offers without a compiler."""

  FORMS = (Form(), Form(channels_last=True))

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
    step = torch_steps.STEPS[self._net](
      self.protocol, lambda net: self.placed(net, form), _fused
    )
    rows = self.rows(len(self.images), self.protocol.batch)
    mixed = torch.autocast(
      self.device.type,
      torch.bfloat16,
      enabled=self.protocol.precision == "bfloat16",
    )

    def run(amount):
      total = torch.zeros((), device=self.device)
      for _ in range(amount):
        images = (
          form.ordered(torch_nets.normalize(self.images[rows()[0]]))
          for _ in range(step.batches)
        )
        with mixed:
          total += step(*images).detach()
      total.item()
      return amount

    return run


def _adam(params: Iterable[nn.Parameter], rate: float, betas=(0.9, 0.999)):
  return torch.optim.Adam(params, rate, betas)


def _fused(params: Iterable[nn.Parameter], rate: float, betas=(0.9, 0.999)):
  return torch.optim.Adam(params, rate, betas, fused=True)
