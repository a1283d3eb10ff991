"""Tensors by name from PyTorch's and safetensors' files, with neither library.

A PyTorch file is a pickle, and a pickle can run code: only the few names that
tensors need are known here, and every other one ends the reading.

Nothing but the description is read until a tensor is asked for its numbers.
"""

import collections
from collections.abc import Callable, Iterator, Mapping
import dataclasses
import functools
import io
import json
import math
from pathlib import Path
import pickle
import struct
from typing import Any
import zipfile

import numpy as np

from medad_jax.types import UserError

# What PyTorch writes before 1.6: five pickles, then the numbers. The first
# pickle is this integer.
_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_START = pickle.dumps(_MAGIC, protocol=2)

_STORAGES = {
  "DoubleStorage": "<f8",
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
  "ShortStorage": "<i2",
  "CharStorage": "<i1",
  "ByteStorage": "<u1",
  "BoolStorage": "?",
}
_SAFETENSORS = {
  "F64": "<f8",
  "F32": "<f4",
  "F16": "<f2",
  "I64": "<i8",
  "I32": "<i4",
  "I16": "<i2",
  "I8": "<i1",
  "U8": "<u1",
  "BOOL": "?",
}


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor that is still in its file.

  Attributes:
    shape: its sides.
    read: its numbers as an array of this shape.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]


def read(path: Path) -> dict[str, Tensor]:
  """The tensors of a `.pth`, `.pt` or `.safetensors` file.

  Entries of nested dicts and tuples are named by their path: "r42.0".

  Raises:
    UserError: the file is absent, of another kind, damaged, or holds more than
      tensors.
  """
  try:
    with path.open("rb") as file:
      return _reader(path, file)(path, file)
  except UserError:
    raise
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror or error}); give the path of a"
      " .pth or .safetensors file."
    ) from error
  except Exception as error:  # bytes of a damaged pickle may do anything
    raise damaged(path, error) from error


def damaged(path: Path, reason: object) -> UserError:
  """The sentence about a file whose content makes no sense."""
  return UserError(
    f"{path} is damaged or incomplete ({reason}); copy or download it again."
  )


def _reader(
  path: Path, file: io.BufferedIOBase
) -> Callable[..., dict[str, Tensor]]:
  start = file.read(512)
  file.seek(0)
  if start.startswith(b"PK"):
    return _read_zip
  if start.startswith(_LEGACY_START):
    return _read_legacy
  if start[8:9] == b"{":
    return _read_safetensors
  if start[257:262] == b"ustar":
    raise UserError(
      f"{path} is a PyTorch file of before 2017 (a tar archive); use a newer"
      " one, or load it with PyTorch and save it again."
    )
  raise UserError(
    f"{path} is neither a PyTorch nor a safetensors file; give a .pth file as"
    " torch.save writes it, or a .safetensors file."
  )


@dataclasses.dataclass(frozen=True)
class _Storage:
  """A row of numbers that tensors are views of."""

  dtype: np.dtype
  size: int
  read: Callable[[], np.ndarray]


class _Unpickler(pickle.Unpickler):
  """Knows what tensors are made of, and nothing else.

  Args:
    file: at the pickle.
    path: for messages.
    storage: makes the storage of (key, dtype, size).
  """

  def __init__(
    self,
    file: io.BufferedIOBase,
    path: Path,
    storage: Callable[[str, np.dtype, int], _Storage],
  ):
    super().__init__(file)
    self._path = path
    self._storage = storage

  def find_class(self, module: str, name: str) -> Any:
    """Our stand-in for what the pickle names."""
    if module == "torch" and name in _STORAGES:
      return np.dtype(_STORAGES[name])
    if (module, name) in _KNOWN:
      return _KNOWN[module, name]
    if module == "torch" and name.endswith("Storage"):
      raise _unknown_type(self._path, name.removesuffix("Storage"))
    raise UserError(
      f"{self._path} holds more than tensors ({module}.{name}), which is not"
      " loaded because it could run code; save the numbers alone, with"
      " torch.save(model.state_dict(), FILE)."
    )

  def persistent_load(self, pid: Any) -> _Storage:
    """The storage that a tensor refers to."""
    kind, dtype, key, _, size, *view = pid
    if kind != "storage" or (view and view[0] is not None):
      raise pickle.UnpicklingError(f"unknown reference {pid}")
    return self._storage(key, dtype, size)


def _tensor(storage, offset, shape, stride, *_) -> Tensor:
  """A view of a storage, checked to stay inside of it."""
  shape, stride = tuple(shape), tuple(stride)
  last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
  if 0 not in shape and (
    min(offset, *shape, *stride, 0) < 0 or last >= storage.size
  ):
    raise pickle.UnpicklingError("a tensor reaches beyond its numbers")

  def read():
    strides = [s * storage.dtype.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(
      storage.read()[offset:], shape, strides
    )

  return Tensor(shape, read)


class _Holder:
  """A tensor or parameter of PyTorch before 0.4, made first and filled then."""

  def __new__(cls, data: Any = None, *_: Any) -> "_Holder":
    holder = super().__new__(cls)
    holder.data = data
    return holder

  def __setstate__(self, state: tuple) -> None:
    if len(state) == 4:  # a tensor
      self.data = _tensor(*state)
    elif len(state) == 5:  # a parameter; one that was made with its data has 3
      self.data = state[0]


_KNOWN = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("torch._utils", "_rebuild_tensor"): _tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _tensor,
  ("torch._utils", "_rebuild_parameter"): _Holder,
  ("torch.nn.parameter", "Parameter"): _Holder,
  ("torch", "FloatTensor"): _Holder,
  ("torch", "LongTensor"): _Holder,
}


def _read_zip(path: Path, file: io.BufferedIOBase) -> dict[str, Tensor]:
  """PyTorch from 1.6: an archive of a pickle and one member a storage."""
  with zipfile.ZipFile(file) as archive:
    names = set(archive.namelist())
    pickles = [n for n in names if n.count("/") == 1 and n.endswith("data.pkl")]
    if len(pickles) != 1:
      raise UserError(
        f"{path} is an archive without PyTorch's data.pkl; give a .pth file as"
        " torch.save writes it."
      )
    root = pickles[0].removesuffix("data.pkl")
    order = root + "byteorder"
    if order in names and archive.read(order) != b"little":
      raise UserError(f"{path} is big-endian; save it on a common machine.")

    def storage(key, dtype, size):
      name = f"{root}data/{key}"
      if archive.getinfo(name).file_size != size * dtype.itemsize:
        raise pickle.UnpicklingError(f"{name} has another size than expected")
      return _Storage(
        dtype, size, functools.partial(_read_member, path, name, dtype)
      )

    described = io.BytesIO(archive.read(pickles[0]))
    return dict(_flatten(_Unpickler(described, path, storage).load()))


def _read_member(path: Path, name: str, dtype: np.dtype) -> np.ndarray:
  with zipfile.ZipFile(path) as archive:
    try:
      return np.frombuffer(archive.read(name), dtype)
    except zipfile.BadZipFile as error:
      raise damaged(path, error) from error


def _read_legacy(path: Path, file: io.BufferedIOBase) -> dict[str, Tensor]:
  """PyTorch before 1.6: the storages follow the pickles in a row."""
  dtypes: dict[str, tuple[np.dtype, int]] = {}
  places: dict[str, int] = {}

  def storage(key, dtype, size):
    dtypes[key] = dtype, size
    return _Storage(
      dtype, size, lambda: _read_part(path, places[key], dtype, size)
    )

  def load():
    return _Unpickler(file, path, storage).load()

  load()  # the magic number, which was compared
  load()  # the version, always 1001
  if not load()["little_endian"]:
    raise UserError(f"{path} is big-endian; save it on a common machine.")
  tensors = dict(_flatten(load()))
  for key in load():
    dtype, size = dtypes[key]
    if struct.unpack("<q", file.read(8)) != (size,):
      raise pickle.UnpicklingError(f"storage {key} has an unexpected size")
    places[key] = file.tell()
    file.seek(size * dtype.itemsize, 1)
  _check_end(path, file.tell())
  if places.keys() != dtypes.keys():
    raise pickle.UnpicklingError("storages are missing")
  return tensors


def _read_safetensors(path: Path, file: io.BufferedIOBase) -> dict[str, Tensor]:
  """A JSON of types, shapes and places, then the numbers."""
  (length,) = struct.unpack("<Q", file.read(8))
  start = 8 + length
  _check_end(path, start)
  header = json.loads(file.read(length))
  header.pop("__metadata__", None)
  return {
    name: _safetensor(path, name, start, entry)
    for name, entry in header.items()
  }


def _safetensor(path, name, start, entry) -> Tensor:
  kind, shape = entry["dtype"], tuple(entry["shape"])
  begin, end = entry["data_offsets"]
  if kind not in _SAFETENSORS:
    raise _unknown_type(path, kind)
  dtype, size = np.dtype(_SAFETENSORS[kind]), math.prod(shape)
  if begin < 0 or end - begin != size * dtype.itemsize:
    raise ValueError(f"{name} has an unexpected size")
  _check_end(path, start + end)
  return Tensor(
    shape,
    lambda: _read_part(path, start + begin, dtype, size).reshape(shape),
  )


def _unknown_type(path: Path, kind: str) -> UserError:
  return UserError(
    f"{path} stores numbers as {kind}, which numpy does not know; save them as"
    " float32."
  )


def _check_end(path: Path, end: int) -> None:
  size = path.stat().st_size
  if size < end:
    raise damaged(path, f"{size} bytes of {end}")


def _read_part(
  path: Path, start: int, dtype: np.dtype, size: int
) -> np.ndarray:
  return np.fromfile(path, dtype, size, offset=start)


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
  """Tensors by path; what is neither tensor nor container is left out."""
  if isinstance(value, _Holder):
    yield from _flatten(value.data, prefix)
  elif isinstance(value, Tensor):
    yield prefix.removesuffix("."), value
  elif isinstance(value, Mapping):
    for key, inner in value.items():
      yield from _flatten(inner, f"{prefix}{key}.")
  elif isinstance(value, tuple | list):
    for i, inner in enumerate(value):
      yield from _flatten(inner, f"{prefix}{i}.")
