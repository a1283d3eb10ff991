"""A published `state_dict` in a file, checked against a net as a whole."""

from collections.abc import Iterable, Mapping
import dataclasses
from pathlib import Path
from typing import Any

from flax import traverse_util
import numpy as np

from medad_jax.types import UserError
from medad_jax.weights import conversion, net_file, tensor_file
from medad_jax.weights.layout import File
from medad_jax.weights.tensors import Tensor

# Entries of a training program's dict that hold the `state_dict`.
_NESTED = ("model_weights.", "state_dict.")
_PARALLEL = "module."  # in front of all names, by torch.nn.DataParallel
COUNT = ".num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class StateFile:
  """The tensors of a file, which are not read yet.

  Attributes:
    path: of the file.
    tensors: by name in the `state_dict`.
  """

  path: Path
  tensors: Mapping[str, Tensor]

  @property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """PyTorch's shapes by name."""
    return {name: tensor.shape for name, tensor in self.tensors.items()}

  def lacks(self, file: File, variables: Any) -> tuple[str, ...]:
    """Optional parts of which it has nothing."""
    wanted = conversion.entries(file.table, variables)
    return tuple(
      part
      for part in file.optional
      if not any(
        inside(entry.path, part) and name in self.tensors
        for name, entry in wanted.items()
      )
    )

  def misfits(self, file: File, variables: Any) -> list[str]:
    """Everything that does not fit, in words; empty if all fits.

    Args:
      file: what it should be.
      variables: of one member, arrays or shapes.
    """
    lacks = self.lacks(file, variables)
    wanted = without(variables, lacks)
    missing, surplus, misshaped = conversion.misfits(
      file.table, wanted, self.shapes, file.ignored
    )
    found = {
      "missing": missing,
      "surplus": surplus,
      "of another shape": misshaped,
    }
    return [f"{k}: {', '.join(names)}" for k, names in found.items() if names]

  def read(self, file: File, variables: Any) -> dict[str, np.ndarray]:
    """The arrays by Flax's path, float32.

    Args:
      file: what it is; nothing misfits.
      variables: of one member, arrays or shapes.

    Raises:
      UserError: a number is damaged, not finite or not a real one.
    """
    wanted = conversion.entries(
      file.table, without(variables, self.lacks(file, variables))
    )
    state = {name: self.tensors[name].read() for name in wanted}
    if odd := [k for k, x in state.items() if x.dtype.kind != "f"]:
      raise UserError(
        f"{self.path} holds whole numbers in {', '.join(odd)}, where a net has"
        " real ones; give the file of the trained net, not of a quantized one."
      )
    with np.errstate(over="ignore"):  # too large for float32: not finite then
      state = {k: x.astype(np.float32) for k, x in state.items()}
    found = conversion.to_flax(file.table, state)
    arrays = traverse_util.flatten_dict(found, sep="/")
    net_file.check_values(self.path, arrays)
    return arrays

  def kinds(self) -> list[str]:
    """Types of real numbers other than float32 that it stores."""
    found = {
      str(tensor.read().dtype)
      for name, tensor in self.tensors.items()
      if not name.endswith(COUNT)
    }
    return sorted(k for k in found if k.startswith("float") and k != "float32")

  def counts(self) -> dict[str, int]:
    """Batches that PyTorch counted in each batch normalization."""
    return {
      name: int(tensor.read())
      for name, tensor in self.tensors.items()
      if name.endswith(COUNT)
    }


def read(path: Path) -> StateFile:
  """A file's `state_dict`, out of what a training program wraps around it.

  That is a dict under `model_weights` or `state_dict`, beside which an
  optimizer may stand, and names that all begin with `module.`.

  Raises:
    UserError: it cannot be read, or holds no tensors.
  """
  found = dict(tensor_file.read(path))
  for prefix in _NESTED:
    if any(name.startswith(prefix) for name in found):
      found = _without_prefix(prefix, found)
  if found and all(name.startswith(_PARALLEL) for name in found):
    found = _without_prefix(_PARALLEL, found)
  if not found:
    raise UserError(
      f"{path} holds no tensors; give the file of a trained net, as"
      " torch.save(model.state_dict(), FILE) writes it."
    )
  return StateFile(path, found)


def inside(path: str, part: str) -> bool:
  """True if a path of Flax's variables, "params/...", lies in a part."""
  return path.partition("/")[2].startswith(f"{part}/")


def without(variables: Any, parts: Iterable[str]) -> Any:
  """Variables without those that lie in some parts."""
  flat = traverse_util.flatten_dict(variables, sep="/")
  return traverse_util.unflatten_dict(
    {
      path: leaf
      for path, leaf in flat.items()
      if not any(inside(path, part) for part in parts)
    },
    sep="/",
  )


def _without_prefix(
  prefix: str, found: Mapping[str, Tensor]
) -> dict[str, Tensor]:
  return {
    name.removeprefix(prefix): tensor
    for name, tensor in found.items()
    if name.startswith(prefix)
  }
