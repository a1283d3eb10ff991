"""A twin with loaded weights, run layer by layer and as a whole."""

from collections.abc import Iterator, Mapping, Sequence
import copy
from typing import Any

from flax import traverse_util
import jax
import numpy as np
import torch
from torch import nn

from medad_jax.mirrors.twins import Probe, States, Twin, tensor
from medad_jax.types import UserError

_BATCH = 32  # images that PyTorch scores at once


class Runner:
  """A twin's nets of all members and trials.

  Args:
    twin: of the method.
    loaded: each file's place (`engine.torch_states.Slot`), and its tensors.
  """

  def __init__(
    self, twin: Twin, loaded: Sequence[tuple[Any, Mapping[str, np.ndarray]]]
  ):
    self._twin = twin
    self._nets = [(slot, _net(twin, slot, state)) for slot, state in loaded]

  def layers(
    self, flat: Any, image: np.ndarray
  ) -> Iterator[tuple[Any, str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields (place, layer's name in PyTorch, our output, PyTorch's outputs).

    PyTorch's are in float32 and in float64.

    Args:
      flat: arrays of the run's states, by path.
      image: [b h w c] in [-1, 1].
    """
    for probe in self._twin.probes(image):
      passed = jax.jit(lambda variables, probe=probe: _passed(probe, variables))
      for slot, net in self._nets:
        if probe.part not in slot.file.parts:
          continue
        ours = passed(_inside(slot.of(flat), probe.part))
        theirs, exact = (
          _hooked(one, probe, slot.file.table)
          for one in (net, copy.deepcopy(net).double())
        )
        for name, module in slot.file.table.items():
          path = module.path.removeprefix(f"{probe.part}/")
          if name in theirs and path in ours:
            all_ = (_all(x) for x in (ours[path], theirs[name], exact[name]))
            for mine, *others in zip(*all_, strict=True):
              yield slot, name, np.array(mine), *map(_channels_last, others)

  def scores(
    self, trial: int, image: np.ndarray, states: States, exact: bool = False
  ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Image scores and maps by name.

    Args:
      trial: its number.
      image: [b h w c] in [-1, 1].
      states: of the trial.
      exact: whether PyTorch computes in float64.
    """
    nets: dict[str, list[nn.Module]] = {}
    for slot, net in self._nets:
      if slot.trial == trial:
        net = copy.deepcopy(net).double() if exact else net
        nets.setdefault(slot.file.flag, []).append(net)
    found = []
    with torch.no_grad():
      for at in range(0, len(image), _BATCH):
        part = tensor(image[at : at + _BATCH])
        part = part.double() if exact else part
        found.append(self._twin.score(nets, part, states))
    scores, maps = (
      {
        name: torch.cat([getattr(one, kind)[name] for one in found]).numpy()
        for name in getattr(found[0], kind)
      }
      for kind in ("image", "maps")
    )
    return scores, maps

  def versions(self) -> dict[str, str]:
    """PyTorch's version."""
    return {"torch": torch.__version__}


def _net(twin: Twin, slot: Any, state: Mapping[str, np.ndarray]) -> nn.Module:
  """The net of a place, with its weights; critics and heads are left out."""
  net = twin.net(slot.file).eval().requires_grad_(False)
  wanted = net.state_dict()
  ready = {
    name: torch.from_numpy(np.array(value)).to(wanted[name].dtype)
    for name, value in state.items()
    if name in wanted
  }
  try:
    # Not every file counts batches, which no score needs.
    missing, _ = net.load_state_dict(ready, strict=False)
  except RuntimeError as error:
    raise UserError(f"PyTorch's net has other shapes: {error}") from error
  if lost := [n for n in missing if not n.endswith("num_batches_tracked")]:
    raise UserError(f"PyTorch's net has {', '.join(lost)}, and the file not.")
  return net


def _passed(probe: Probe, variables: Any) -> dict[str, Any]:
  """Outputs of all modules of the Flax net, by path."""
  with jax.default_matmul_precision("float32"):
    _, found = probe.net.apply(
      variables,
      *probe.inputs,
      **probe.options,
      capture_intermediates=True,
      mutable=["intermediates"],
    )
  flat = traverse_util.flatten_dict(found["intermediates"], sep="/")
  return {
    path.removesuffix("/__call__"): values[-1] for path, values in flat.items()
  }


def _hooked(
  net: nn.Module, probe: Probe, table: Mapping[str, Any]
) -> dict[str, Any]:
  """Outputs of the PyTorch net's modules, by name."""
  found: dict[str, Any] = {}

  def keep(name):
    def hook(module, inputs, output):
      del module, inputs
      found[name] = output

    return hook

  hooks = [
    module.register_forward_hook(keep(name))
    for name, module in net.named_modules()
    if name in table
  ]
  try:
    with torch.no_grad():
      probe.run(net)
  finally:
    for hook in hooks:
      hook.remove()
  return found


def _inside(variables: Mapping[str, Any], part: str) -> dict[str, Any]:
  """The variables of a part, by collection."""
  stage, _, name = part.partition("/")
  return {
    collection: tree[stage][name]
    for collection, tree in variables.items()
    if name in tree.get(stage, {})
  }


def _all(output: Any) -> tuple[Any, ...]:
  return output if isinstance(output, tuple) else (output,)


def _channels_last(output: torch.Tensor) -> np.ndarray:
  if output.ndim == 4:
    output = output.permute(0, 2, 3, 1)
  return output.numpy()
