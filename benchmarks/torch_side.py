"""The common part of the PyTorch sides: steps, trials, stacked members."""

from collections.abc import Callable, Iterator, Sequence
import copy
import itertools
import platform
import time
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils import data

from benchmarks import sides, torch_nets
from benchmarks.protocol import Part, Protocol


class Form(NamedTuple):
  """A form in which the tuned side runs its nets.

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

  def ordered(self, x: torch.Tensor) -> torch.Tensor:
    """Images in the form's order."""
    if self.channels_last:
      return x.contiguous(memory_format=torch.channels_last)
    return x


# A form's run, and how many members' steps one of its steps is.
Trial = Callable[[Form], tuple[sides.Run, int]]


class TorchSide(sides.Parts):
  """The common part of all sides, and the steps of those that users run.

  Args:
    protocol: sizes and counts.
  """

  def __init__(self, protocol: Protocol):
    super().__init__()
    torch.manual_seed(0)
    self.protocol = protocol
    self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # The shapes never change, so that searching for the best kernels pays.
    torch.backends.cudnn.benchmark = True

  def about(self) -> tuple[str, str]:
    """The versions; the kind of device."""
    if self.device.type == "cuda":
      name = torch.cuda.get_device_name()
      return f"torch {torch.__version__} on {name}", "gpu"
    where = f"{platform.machine()}, {torch.get_num_threads()} thread(s)"
    return f"torch {torch.__version__} on {where}", "cpu"

  def memory(self) -> dict[str, int | None]:
    """Peaks in bytes."""
    on_card = self.device.type == "cuda"
    device = torch.cuda.max_memory_allocated() if on_card else None
    return {"host": sides.peak_host(), "device": device}

  def wait(self) -> None:
    """Waits until the device has done what it was given."""
    if self.device.type == "cuda":
      torch.cuda.synchronize()

  def eager(
    self,
    loss: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer,
    loader: data.DataLoader,
  ) -> sides.Run:
    """Steps as users take them, of a loss of what the loader gives."""
    batches = endless(loader)

    def run(amount):
      for batch in itertools.islice(batches, amount):
        parts = batch if isinstance(batch, list) else [batch]
        value = loss(*(part.to(self.device) for part in parts))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        value.item()  # each loss is read, for the epoch's mean
      return amount

    return run


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
    super().__init__(protocol)
    torch.set_float32_matmul_precision("high")  # TensorFloat-32
    self.options, self._compiles = options, compiles
    images = torch.from_numpy(protocol.training_images())
    self.images = images[:, None].to(self.device)

  def choose(self) -> tuple[dict[str, Form], list[str]]:
    """The quickest form of each phase, and a line on every form."""
    forms = [f for f in self.FORMS if self._compiles or not f.compiled]
    found, notes = {}, []
    for phase, make in self.trials().items():
      times = {}
      for form in forms:
        try:
          times[form] = self._trial(*make(form))
          text = f"{1e3 * times[form]:.2f} ms"
        except torch._dynamo.exc.TorchDynamoException as error:
          # A compiler may be absent, or not know an operation.
          if not form.compiled:
            raise
          text = f"not available: {str(error).strip().splitlines()[0]}"
        notes.append(f"tuned, {phase}, {form}: {text}")
        if form.compiled:
          # Its programs would stay, and count for the next form's limit.
          torch._dynamo.reset()
      found[phase] = min(times, key=times.__getitem__)
      notes.append(f"tuned, {phase}: takes {found[phase]}")
    return found, notes

  def trials(self) -> dict[str, Trial]:
    """Trials by phase: a form's run, and its step's count of members' steps."""
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

  def placed(self, net: nn.Module, form: Form) -> nn.Module:
    """A net on the device, in the form's order."""
    order = torch.contiguous_format
    if form.channels_last:
      order = torch.channels_last
    return net.to(self.device, memory_format=order)

  def rows(self, length: int, batch: int, members: int = 1):
    """A function () -> the next step's rows, [members batch].

    They are shuffled on the device, an epoch at a time; what does not fill a
    batch is dropped.
    """
    count, device = length // batch, self.device

    def steps():
      while True:
        drawn = [torch.randperm(length, device=device) for _ in range(members)]
        cut = torch.stack(drawn)[:, : count * batch]
        yield from cut.view(members, count, batch).unbind(1)

    return steps().__next__

  def _trial(self, run: sides.Run, each: int) -> float:
    """Seconds of a member's step, the better of two."""
    steps = 20 if self.device.type == "cuda" else 2
    run(steps)  # compiles, records
    self.wait()
    taken = []
    for _ in range(2):
      start = time.perf_counter()
      run(steps)
      self.wait()
      taken.append((time.perf_counter() - start) / steps / each)
    return min(taken)


class TunedTraining(TunedSide):
  """One phase, "training", whose steps a subclass makes in `_train`."""

  FORMS = (
    Form(),
    Form(channels_last=True),
    Form(compiled=True),
    Form(compiled=True, channels_last=True),
  )

  def parts(self) -> list[Part]:
    """Training alone."""
    return training_part(self.protocol)

  def trials(self):
    """Trials of the one net."""
    return {"training": lambda form: (self._train(form), 1)}

  def _make(self, part):
    return self._train(self.options[part.phase])

  def _train(self, form: Form) -> sides.Run:
    """The steps in a form."""
    raise NotImplementedError


class Stack(nn.Module):
  """Nets of one kind as one, on a leading axis of members.

  Parameters and running statistics are stacked inside a copy of the first net,
  so that an optimizer, `torch.compile` and CUDA graphs find them as usual.
  """

  def __init__(self, nets: Sequence[nn.Module]):
    super().__init__()
    self._net = copy.deepcopy(nets[0])
    params, buffers = torch.func.stack_module_state(list(nets))
    stacked = {k: nn.Parameter(v.detach()) for k, v in params.items()}
    for name, value in (stacked | buffers).items():
      path, _, last = name.rpartition(".")
      setattr(self._net.get_submodule(path), last, value)

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


class InTurn(nn.Module):
  """Nets that run one after another, where a `Stack` runs them as one."""

  def __init__(self, nets: Sequence[nn.Module]):
    super().__init__()
    self.nets = nn.ModuleList(nets)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Every net's output of x [b c h w]: [k b c h w]."""
    return torch.stack([net(x) for net in self.nets])


def adam(
  net: nn.Module, rate: float, b1: float, decay: float = 0.0
) -> torch.optim.Adam:
  """The tuned side's optimizer: one fused kernel for many tensors."""
  return torch.optim.Adam(
    net.parameters(), rate, (b1, 0.999), weight_decay=decay, fused=True
  )


def training_part(protocol: Protocol) -> list[Part]:
  """The training of one net."""
  return [Part("training", "steps", protocol.normative_steps)]


def batches(protocol: Protocol) -> data.DataLoader:
  """Shuffled full batches [b 1 h w], as users load them."""
  return data.DataLoader(
    torch_nets.Images(protocol.training_images()),
    protocol.batch,
    shuffle=True,
    drop_last=True,
  )


def endless(loader: data.DataLoader) -> Iterator[Any]:
  """Batch after batch, epoch after epoch."""
  return itertools.chain.from_iterable(itertools.repeat(loader))


def training(
  loss: Callable[[torch.Tensor], torch.Tensor],
  optimizer: torch.optim.Optimizer,
  shuffled: Callable[[], torch.Tensor],
) -> sides.Run:
  """The tuned side's steps, of a loss of row numbers."""

  def run(amount):
    total = 0.0
    for _ in range(amount):
      torch.compiler.cudagraph_mark_step_begin()
      value = loss(shuffled())
      value.backward()
      optimizer.step()
      optimizer.zero_grad()
      total += value.detach()
    total.item()  # losses are summed on the device and read in the end
    return amount

  return run
