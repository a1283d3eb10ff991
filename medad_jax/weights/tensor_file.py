"""Tensors by name, in PyTorch's, safetensors' and pickled numpy files.

Reading runs no code from the file, and its cost is bounded by the file's size.
Nothing but the description is read until a tensor is asked for its values.
"""

from collections.abc import Mapping
import dataclasses
import io
from pathlib import Path
from typing import IO

import numpy as np

from medad_jax import files
from medad_jax.types import UserError
from medad_jax.weights import pickled, pth, safetensors_file, tensors
from medad_jax.weights.tensors import Tensor

_PICKLE = b"\x80"  # how a pickle of protocol 2 or later starts

_WRITERS = {
  ".pth": pth.write,
  ".pt": pth.write,
  ".safetensors": safetensors_file.write,
}


def read(path: Path) -> dict[str, Tensor]:
  """The tensors of a `.pth`, `.pt` or `.safetensors` file.

  Pickled numpy arrays, as some packages ship them, are read as well. Entries of
  nested dicts, lists and tuples are named by their path: "r42.0".

  Raises:
    UserError: the file is absent, of another kind, damaged, or holds more than
      tensors; `Tensor.read` raises it too.
  """
  with tensors.reading(path):
    found = _read(path)
  return {name: _guarded(path, tensor) for name, tensor in found.items()}


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays in the format of the path's suffix, whole or not at all.

  Args:
    path: ends in `.pth`, `.pt` or `.safetensors`; replaced if it exists.
    arrays: by name, of integers, booleans or floating-point numbers of 16 to 64
      bits.

  Raises:
    UserError: the suffix is another one, or the file cannot be written.
    ValueError: an array is of a type that the formats do not share.
  """
  if path.suffix not in _WRITERS:
    raise UserError(
      f"{path} was given to write tensors to; let its name end in"
      f" {', '.join(_WRITERS)}."
    )
  ready = {name: _ready(name, array) for name, array in arrays.items()}
  with files.replacing(path) as file:
    _WRITERS[path.suffix](file, ready)


def _read(path: Path) -> dict[str, Tensor]:
  if path.exists() and not path.is_file():  # opening a pipe would wait
    raise UserError(
      f"{path} is no file; give the path of a .pth or .safetensors file."
    )
  with path.open("rb") as file:
    start = file.read(512)
    file.seek(0)
    if start.startswith(b"PK"):
      return pth.read_archive(path, file)
    if start.startswith(pth.LEGACY_START):
      return pth.read_legacy(path, file)
    if start.startswith(_PICKLE):
      return _read_pickle(path, file)
  if start[8:9] == b"{":
    return safetensors_file.read(path)
  if start[257:262] == b"ustar":
    raise UserError(
      f"{path} is a PyTorch file of before 2017 (a tar archive); use a newer"
      " one, or load it with PyTorch and save it again."
    )
  raise UserError(
    f"{path} is neither a PyTorch nor a safetensors file; give a .pth file as"
    " torch.save writes it, or a .safetensors file."
  )


def _read_pickle(path: Path, file: IO[bytes]) -> dict[str, Tensor]:
  """Arrays of a pickle, which holds their numbers as well."""

  def no_storage(key: str, dtype: np.dtype, size: int) -> pickled.Storage:
    raise ValueError("a tensor whose numbers are in another file")

  # The whole file in memory: a damaged length then finds its end.
  content = io.BytesIO(file.read())
  return pickled.named(pickled.load(content, path, no_storage))


def _guarded(path: Path, tensor: Tensor) -> Tensor:
  """The tensor, whose values may be damaged where its description is not."""

  def read() -> np.ndarray:
    with tensors.reading(path):
      return tensor.read()

  return dataclasses.replace(tensor, read=read)


def _ready(name: str, array: np.ndarray) -> np.ndarray:
  """Little-endian and contiguous, of a type that both formats have."""
  array = np.asarray(array)
  dtype = array.dtype.newbyteorder("<")
  if dtype not in pickled.STORAGES.values():
    raise ValueError(f"{name} is of {array.dtype}, which no tensor file holds")
  # Not np.ascontiguousarray, which makes [1] of a scalar's [].
  return np.asarray(array, dtype, order="C")
