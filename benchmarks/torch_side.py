"""What the PyTorch sides share: parts, trials of forms, stacked members."""

from collections.abc import Callable, Iterable, Sequence
import copy
import itertools
import platform
import time
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import data

from benchmarks import sides
from benchmarks.protocol import Protocol


class Form(NamedTuple):
  """How the tuned side runs its nets.

  Attributes:
    compiled: by `torch.compile`, on a GPU with CUDA graphs.
    stacked: members as one, by `torch.func` and `vmap`.
    channels_last: the memory's order.
  """

  compiled: bool = False
  stacked: bool = False
  channels_last: bool = False

  def __str__(self):
    words = [
      name.replace("_", " ") for name, on in self._asdict().items() if on
    ]
    return ", ".join(words) or "eager, one net after another"


# A form's run, and how many members' steps one of its steps is.
Trial = Callable[[Form], tuple[sides.Run, int]]


class TorchSide(sides.Parts):
  """What all sides of PyTorch share."""

  def __init__(self):
    super().__init__()
    torch.manual_seed(0)
    self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True

  def about(self) -> tuple[str, str]:
    """The versions; the kind of device."""
    cuda = self.device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.machine()
    text = f"torch {torch.__version__} on {name}"
    if not cuda:
      text += f", {torch.get_num_threads()} thread(s)"
    return text, "gpu" if cuda else "cpu"

  def memory(self) -> dict[str, int | None]:
    """Peaks in bytes."""
    device = None
    if self.device.type == "cuda":
      device = torch.cuda.max_memory_allocated()
    return {"host": sides.peak_host(), "device": device}

  def wait(self) -> None:
    """Until the device has done what it was given."""
    if self.device.type == "cuda":
      torch.cuda.synchronize()


class TunedSide(TorchSide):
  """Images on the device, and forms that are chosen by trial.

  Args:
    protocol: sizes and counts.
    compiles: whether `torch.compile` may be tried.
    options: forms by phase, from `choose`.
  """

  FORMS: Sequence[Form] = ()

  def __init__(
    self, protocol: Protocol, compiles: bool, options: dict[str, Form]
  ):
    super().__init__()
    torch.set_float32_matmul_precision("high")
    self.protocol, self.options, self._compiles = protocol, options, compiles
    images = torch.from_numpy(protocol.training_images())
    self.images = images[:, None].to(self.device)

  def choose(self) -> tuple[dict[str, Form], list[str]]:
    """The forms, by trial."""
    forms = [f for f in self.FORMS if self._compiles or not f.compiled]
    found, notes = {}, []
    for phase, make in self.trials().items():
      found[phase], lines = fastest(phase, forms, make, self)
      notes += lines
    return found, notes

  def trials(self) -> dict[str, Trial]:
    """By phase, a form's run and how many members' steps its step is."""
    raise NotImplementedError

  def compiled(
    self, function: Callable[..., Any], form: Form, *nets: nn.Module
  ) -> Callable[..., Any]:
    """A function of tensors and of these nets, as the form runs it."""
    if self.protocol.precision == "bfloat16":
      function = torch.autocast(self.device.type, torch.bfloat16)(function)
    if not form.compiled:
      return function
    # A CUDA graph need not copy what stays where it is.
    for tensor in (self.images, *(b for net in nets for b in net.buffers())):
      torch._dynamo.mark_static_address(tensor)
    mode = "reduce-overhead" if self.device.type == "cuda" else None
    return torch.compile(function, dynamic=False, mode=mode)


class Stack(nn.Module):
  """Nets of one kind as one, on a leading axis of members.

  Parameters and running statistics are stacked inside a copy of the first net,
  so that an optimizer, `torch.compile` and CUDA graphs find them as usual.
  """

  def __init__(self, nets: Sequence[nn.Module]):
    super().__init__()
    self._net = copy.deepcopy(nets[0])
    params, buffers = torch.func.stack_module_state(list(nets))
    for name, value in params.items():
      layer, last = self._place(name)
      setattr(layer, last, nn.Parameter(value.detach()))
    for name, value in buffers.items():
      layer, last = self._place(name)
      setattr(layer, last, value)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Member k's output of x[k]; for x without members, of all of x.

    Args:
      x: [k b c h w] or [b c h w].
    """
    net = self._net
    params = dict(net.named_parameters())
    buffers = dict(net.named_buffers())

    def one(params, buffers, x):
      return torch.func.functional_call(net, (params, buffers), (x,))

    inputs = (0, 0, 0 if x.ndim == 5 else None)
    return torch.vmap(one, inputs)(params, buffers, x)

  def _place(self, name: str) -> tuple[nn.Module, str]:
    path, _, last = name.rpartition(".")
    return self._net.get_submodule(path), last


class InTurn(nn.Module):
  """What `Stack` does, one net after another."""

  def __init__(self, nets: Sequence[nn.Module]):
    super().__init__()
    self.nets = nn.ModuleList(nets)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Every net's output of x [b c h w]: [k b c h w]."""
    return torch.stack([net(x) for net in self.nets])


def ordered(x: torch.Tensor, form: Form) -> torch.Tensor:
  """Images in the form's order."""
  if form.channels_last:
    return x.contiguous(memory_format=torch.channels_last)
  return x


def placed(net: nn.Module, form: Form, device: torch.device) -> nn.Module:
  """A net on the device, in the form's order."""
  order = torch.channels_last if form.channels_last else torch.contiguous_format
  return net.to(device, memory_format=order)


def adam(
  net: nn.Module, rate: float, b1: float, decay: float = 0.0
) -> torch.optim.Adam:
  """The tuned side's optimizer: one fused kernel for many tensors."""
  return torch.optim.Adam(
    net.parameters(), rate, (b1, 0.999), weight_decay=decay, fused=True
  )


def fastest(
  what: str,
  forms: Iterable[Form],
  make: Trial,
  side: TorchSide,
) -> tuple[Form, list[str]]:
  """The quickest form of a step, and a line on every one.

  Args:
    what: names the step.
    forms: which to try.
    make: a form's run, and how many members' steps one of its steps is.
    side: whose device is waited for.
  """
  times, notes = {}, []
  for form in forms:
    try:
      times[form] = _trial(*make(form), side)
      found = f"{1e3 * times[form]:.2f} ms"
    except torch._dynamo.exc.TorchDynamoException as error:
      if not form.compiled:
        raise
      found = f"not had: {str(error).strip().splitlines()[0]}"
    notes.append(f"tuned, {what}, {form}: {found}")
    if form.compiled:
      torch._dynamo.reset()
  best = min(times, key=times.__getitem__)
  return best, [*notes, f"tuned, {what}: takes {best}"]


def endless(loader: data.DataLoader):
  """Batch after batch, epoch after epoch."""
  return itertools.chain.from_iterable(itertools.repeat(loader))


def rows(
  length: int, batch: int, members: int, device: torch.device
) -> Callable[[], torch.Tensor]:
  """Shuffled row numbers, drawn on the device an epoch at a time.

  Args:
    length: rows to shuffle; what does not fill a batch is dropped.
    batch: rows a step.
    members: shuffles beside each other.
    device: where.

  Returns:
    () -> the next step's rows, [members batch].
  """
  count = length // batch

  def steps():
    while True:
      drawn = [torch.randperm(length, device=device) for _ in range(members)]
      cut = torch.stack(drawn)[:, : count * batch]
      yield from cut.view(members, count, batch).unbind(1)

  return steps().__next__


def eager(
  loss: Callable[..., torch.Tensor],
  optimizer: torch.optim.Optimizer,
  loader: data.DataLoader,
  device: torch.device,
) -> sides.Run:
  """Steps as users take them; each loss is read, for the epoch's mean.

  Args:
    loss: of what the loader gives.
    optimizer: takes the steps.
    loader: of batches.
    device: where to.
  """
  batches = endless(loader)

  def run(amount):
    for batch in itertools.islice(batches, amount):
      parts = batch if isinstance(batch, list) else [batch]
      value = loss(*(part.to(device) for part in parts))
      optimizer.zero_grad()
      value.backward()
      optimizer.step()
      value.item()
    return amount

  return run


def training(
  loss: Callable[[torch.Tensor], torch.Tensor],
  optimizer: torch.optim.Optimizer,
  shuffled: Callable[[], torch.Tensor],
) -> sides.Run:
  """Steps whose losses are summed on the device and read in the end.

  Args:
    loss: of row numbers.
    optimizer: takes the steps.
    shuffled: gives the next row numbers.
  """

  def run(amount):
    total = 0.0
    for _ in range(amount):
      torch.compiler.cudagraph_mark_step_begin()
      value = loss(shuffled())
      value.backward()
      optimizer.step()
      optimizer.zero_grad()
      total += value.detach()
    total.item()
    return amount

  return run


def _trial(run: sides.Run, each: int, side: TorchSide) -> float:
  """Seconds of a member's step, the better of two."""
  steps = 20 if side.device.type == "cuda" else 2
  run(steps)  # compiles, records
  side.wait()
  taken = []
  for _ in range(2):
    start = time.perf_counter()
    run(steps)
    side.wait()
    taken.append((time.perf_counter() - start) / steps / each)
  return min(taken)
