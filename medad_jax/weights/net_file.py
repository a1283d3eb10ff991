"""A pretrained network's arrays out of a file, checked."""

from collections.abc import Mapping
import hashlib
from pathlib import Path
from typing import NamedTuple

from flax import traverse_util
import numpy as np

from medad_jax.types import UserError
from medad_jax.weights import catalog, conversion, tensor_file
from medad_jax.weights.tensors import Tensor

_SHOWN = 8  # offenders of a kind that a message names


class NetFile(NamedTuple):
  """The contents of a file.

  Attributes:
    arrays: by path, float32.
    sha256: of the file.
  """

  arrays: catalog.Arrays
  sha256: str


def read(name: str, source: Path) -> NetFile:
  """The arrays of a network from a PyTorch or safetensors file.

  Args:
    name: one of `catalog.NETS`.
    source: with the official file's names.

  Raises:
    UserError: the file cannot be read or does not fit.
  """
  found = tensor_file.read(source)
  net = catalog.NETS[name].naming(found)
  _check_fit(name, net, source, found)
  state = {key: _values(found[key]) for key in net.entries()}
  variables = conversion.to_flax(net.table, state)
  arrays = traverse_util.flatten_dict(variables, sep="/")
  check_values(source, arrays)
  return NetFile(arrays, sha256(source))


def sha256(path: Path) -> str:
  """The hash of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _check_fit(
  name: str, net: catalog.Net, source: Path, found: Mapping[str, Tensor]
) -> None:
  """Compares names and shapes before any value is read."""
  shapes = {key: tensor.shape for key, tensor in found.items()}
  missing, unknown, misshaped = conversion.misfits(
    net.table, net.variables(), shapes, net.ignored
  )
  if missing or unknown or misshaped:
    offenders = (
      *_first([f"-{key}" for key in missing]),
      *_first([f"+{key}" for key in unknown]),
      *_first(misshaped),
    )
    raise UserError(
      f"{source} does not fit {name} (- is missing, + is unknown):"
      f" {', '.join(offenders)}; give {net.file} or a file with its names and"
      " shapes."
    )


def _values(tensor: Tensor) -> np.ndarray:
  with np.errstate(over="ignore"):  # too large for float32: not finite then
    return tensor.read().astype(np.float32)


def check_values(source: Path, arrays: catalog.Arrays) -> None:
  """Checks that a file's numbers can be those of a trained net.

  Args:
    source: for the message.
    arrays: by Flax's path.

  Raises:
    UserError: some are not finite, or a variance is negative.
  """
  least = {"scale": np.finfo(np.float32).tiny, "var": 0.0}
  offenders = []
  for path, value in arrays.items():
    # The statistics' scale divides; a normalization's may have any sign.
    name = path.rsplit("/", 1)[-1] if path.endswith("/var") else path
    if not (np.isfinite(value) & (value >= least.get(name, -np.inf))).all():
      offenders.append(path)
  if offenders:
    raise UserError(
      f"{source} holds numbers that are not finite, or negative variances, in"
      f" {', '.join(_first(offenders))}; give a sound file."
    )


def _first(offenders: list[str]) -> list[str]:
  """Some of them, and the number of the others."""
  more = len(offenders) - _SHOWN
  return offenders[:_SHOWN] + [f"and {more} more"] * (more > 0)
