"""Safetensors' files: the only module that knows the package.

It checks a header before it reads a value: sizes and offsets must be integers
that fit each other and the file.
"""

from collections.abc import Mapping
import functools
from pathlib import Path
from typing import IO

import numpy as np
import safetensors
import safetensors.numpy

from medad_jax.weights import tensors
from medad_jax.weights.tensors import Tensor

# Types of values that numpy knows.
_KNOWN = {
  *("F64", "F32", "F16"),
  *("I64", "I32", "I16", "I8"),
  *("U64", "U32", "U16", "U8"),
  "BOOL",
}


def read(path: Path) -> dict[str, Tensor]:
  """Tensors by name.

  Raises:
    UserError: the values are of a type that numpy lacks.
    Exception: the file is damaged; use it inside `tensors.reading`.
  """
  found = {}
  with safetensors.safe_open(path, framework="numpy") as file:
    for name in file.keys():
      described = file.get_slice(name)
      if described.get_dtype() not in _KNOWN:
        raise tensors.unknown_type(path, described.get_dtype())
      found[name] = Tensor(
        tuple(described.get_shape()), functools.partial(_values, path, name)
      )
  return found


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by name, little-endian and contiguous."""
  metadata = {"format": "pt"}  # as PyTorch's users write and expect it
  file.write(safetensors.numpy.save(dict(arrays), metadata))


def _values(path: Path, name: str) -> np.ndarray:
  with safetensors.safe_open(path, framework="numpy") as file:
    return file.get_tensor(name)
