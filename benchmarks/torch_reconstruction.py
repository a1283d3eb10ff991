"""One net of MedIAnomaly in PyTorch, eager and tuned (arXiv 2404.04518).

`Eager` is the published loop: a data loader in the process itself, images in
memory at their final size, the loss read at every step. `Tuned` has uint8
images on the device, drawn and normalized there, fused Adam, TF32, and
`torch.compile` or channels_last where a short trial finds that they pay.
"""

import itertools
from typing import Any

import torch
from torch import nn
from torch.utils import data

from benchmarks import torch_images, torch_nets, torch_side
from benchmarks.protocol import Part, Protocol
from benchmarks.torch_side import Form

_FORMS = (
  Form(),
  Form(channels_last=True),
  Form(compiled=True),
  Form(compiled=True, channels_last=True),
)


class _Training(torch_side.TorchSide):
  """The one part there is: training.

  Args:
    net: "ae" or "dae".
    protocol: images, batch, size and epochs.
  """

  def __init__(self, net: str, protocol: Protocol):
    super().__init__()
    self.net, self.protocol = net, protocol
    self.images = protocol.training_images()

  def parts(self) -> list[Part]:
    """Steps of full batches."""
    return [Part("training", "steps", self.protocol.normative_steps)]

  def build(self) -> nn.Module:
    """The net in training."""
    if self.net == "dae":
      return torch_nets.UNet().train()
    side = self.protocol.size
    return torch_nets.Autoencoder(hidden=1024, side=side).train()

  def corrupt(self, image: torch.Tensor) -> torch.Tensor:
    """The net's input."""
    if self.net == "ae":
      return image
    shift = torch.randint(image.shape[-1], (2,), device=image.device)
    return torch_nets.coarse_noise(image, shift)


class Eager(_Training):
  """The official code's way, which users run today.

  Args:
    net: see `_Training`.
    protocol: see `_Training`.
    options: none.
  """

  def __init__(self, net: str, protocol: Protocol, options: dict[str, Any]):
    super().__init__(net, protocol)
    del options

  def _make(self, part):
    net = self.build().to(self.device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    images = torch_images.Images(self.images)
    loader = data.DataLoader(
      images, self.protocol.batch, shuffle=True, drop_last=True
    )
    batches = torch_side.endless(loader)

    def run(amount):
      for image in itertools.islice(batches, amount):
        image = image.to(self.device)
        x_hat = net(self.corrupt(image))
        torch_side.step(optimizer, torch_nets.squared_error(x_hat, image))
      return amount

    return run


class Tuned(_Training):
  """The code as a good PyTorch engineer would write it.

  Args:
    net: see `_Training`.
    protocol: see `_Training`.
    compiles: whether `torch.compile` may be tried.
    options: {"training": form}, from `choose`.
  """

  def __init__(
    self,
    net: str,
    protocol: Protocol,
    compiles: bool,
    options: dict[str, Form],
  ):
    super().__init__(net, protocol)
    torch.set_float32_matmul_precision("high")
    self._compiles, self._options = compiles, options
    self._images = torch.from_numpy(self.images)[:, None].to(self.device)

  def choose(self) -> tuple[dict[str, Form], list[str]]:
    """The form, by trial."""
    forms = [f for f in _FORMS if self._compiles or not f.compiled]
    best, notes = torch_side.fastest(
      self.net, forms, lambda form: (self._train(form), 1), self
    )
    return {"training": best}, notes

  def _make(self, part):
    return self._train(self._options["training"])

  def _train(self, form: Form):
    net = torch_side.placed(self.build(), form, self.device)
    optimizer = torch_side.adam(net, 1e-3, 0.9)
    shuffled = torch_side.rows(
      len(self._images), self.protocol.batch, 1, self.device
    )

    def loss(at):
      image = torch_nets.normalize(self._images[at[0]])
      image = torch_side.ordered(image, form)
      return torch_nets.squared_error(net(self.corrupt(image)), image)

    fixed = (self._images, *net.buffers())
    precision = self.protocol.precision
    call = torch_side.compiled(loss, form, self.device, precision, fixed)
    return torch_side.training(call, optimizer, shuffled)
