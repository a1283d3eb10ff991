"""Tensor files as PyTorch and safetensors write them, with neither library."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
import io
import json
from pathlib import Path
import pickle
import struct
from types import MappingProxyType
from typing import Any
import zipfile

import numpy as np
import pytest

from medad_jax.types import UserError
from medad_jax.weights import tensor_file

_STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage"}
_SAFETENSORS = {"f4": "F32", "f2": "F16", "i8": "I64"}

# (call, storage, shape, stride) -> what stands for a tensor in the pickle.
Style = Callable[..., Any]


class Call:
  """Pickled as a call of module.name, and `state` set on what it returns."""

  def __init__(self, name: str, *args: Any, state: Any = None):
    self._reduced = (Global(name), args, state)

  def __reduce__(self):
    return self._reduced


class Global:
  """Pickled as the name of something that need not exist here."""

  def __init__(self, name: str):
    self.module, _, self.name = name.rpartition(".")

  def __call__(self):
    """Only callables can be what a pickle calls."""


class Storage:
  """Numbers that tensors refer to."""

  def __init__(self, numbers: np.ndarray, key: str, kind: str | None = None):
    self.numbers = numbers
    self.key = key
    self.kind = kind or _STORAGES[numbers.dtype.str[1:]]


def modern(storage, offset, shape, stride):
  """Since PyTorch 0.4."""
  return Call(
    "torch._utils._rebuild_tensor_v2",
    *(storage, offset, shape, stride, False, OrderedDict()),
  )


def plain(storage, offset, shape, stride):
  """PyTorch 0.1 to 0.3."""
  return Call("torch._utils._rebuild_tensor", storage, offset, shape, stride)


def parameter(*args):
  """A parameter of that time."""
  state = (True, False, OrderedDict())
  return Call("torch.nn.parameter.Parameter", plain(*args), state=state)


def ancient(*args):
  """A parameter of PyTorch 0.1, all in states."""
  data = Call("torch.FloatTensor", state=args)
  state = (data, None, OrderedDict(), True, False)
  return Call("torch.nn.parameter.Parameter", state=state)


def write_zip(path: Path, tree: Any, style: Style = modern) -> Path:
  """PyTorch from 1.6; arrays in nested dicts and tuples become tensors."""
  stored: list[Storage] = []
  described = _pickle(_tensors(tree, style, stored))
  members = {storage.key: storage.numbers.tobytes() for storage in stored}
  return write_pickle(path, described, members)


def write_pickle(
  path: Path,
  described: bytes,
  members: Mapping[str, bytes] = MappingProxyType({}),
  compression: int = zipfile.ZIP_STORED,
) -> Path:
  """An archive as PyTorch's, of any pickle."""
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("archive/data.pkl", described)
    archive.writestr("archive/byteorder", "little", zipfile.ZIP_STORED)
    for key, content in members.items():
      archive.writestr(f"archive/data/{key}", content)
  return path


def write_legacy(path: Path, tree: Any, style: Style = modern) -> Path:
  """PyTorch before 1.6."""
  stored: list[Storage] = []
  described = _pickle(_tensors(tree, style, stored), view=True)
  keys = [storage.key for storage in stored]
  numbers = b"".join(
    struct.pack("<q", storage.numbers.size) + storage.numbers.tobytes()
    for storage in stored
  )
  return write_legacy_pickle(path, described, _pickle(keys) + numbers)


def write_legacy_pickle(
  path: Path, described: bytes, rest: bytes = b""
) -> Path:
  """A file as PyTorch's before 1.6, of any pickle."""
  before = (
    0x1950A86A20F9469CFC6C,
    1001,
    {"protocol_version": 1001, "little_endian": True},
  )
  head = b"".join(_pickle(value) for value in before)
  path.write_bytes(head + described + rest)
  return path


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
  """A JSON header, then the numbers."""
  header, position = {"__metadata__": {"format": "pt"}}, 0
  for name, array in arrays.items():
    header[name] = {
      "dtype": _SAFETENSORS[array.dtype.str[1:]],
      "shape": array.shape,
      "data_offsets": (position, position + array.nbytes),
    }
    position += array.nbytes
  text = json.dumps(header).encode()
  numbers = b"".join(array.tobytes() for array in arrays.values())
  return write_header(path, text, numbers)


def write_header(path: Path, text: bytes, numbers: bytes = b"") -> Path:
  """A safetensors file with any header."""
  path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
  return path


def _tensors(tree: Any, style: Style, stored: list[Storage]) -> Any:
  """The tree with calls in place of arrays; their numbers go to `stored`."""
  if isinstance(tree, dict):
    pairs = ((k, _tensors(v, style, stored)) for k, v in tree.items())
    return OrderedDict(pairs)
  if isinstance(tree, tuple):
    return tuple(_tensors(v, style, stored) for v in tree)
  if not isinstance(tree, np.ndarray):
    return tree
  # Numbers before the tensor's own, so that its offset counts; and a
  # transposed tensor keeps its order in memory, as PyTorch's do.
  own = tree.T if tree.flags.f_contiguous else tree
  numbers = np.concatenate([np.zeros(3, tree.dtype), own.reshape(-1)])
  stored.append(Storage(numbers, str(len(stored))))
  stride = tuple(s // tree.itemsize for s in tree.strides)
  return style(stored[-1], 3, tree.shape, stride)


class _Pickler(pickle._Pickler):
  """Writes names that cannot be imported, which the C version refuses."""

  dispatch = dict(pickle._Pickler.dispatch)

  def __init__(self, file: io.BytesIO, view: bool):
    super().__init__(file, protocol=2)
    self._view = (None,) if view else ()

  def persistent_id(self, value):
    if not isinstance(value, Storage):
      return None
    kind = Global(f"torch.{value.kind}")
    size = value.numbers.size
    return ("storage", kind, value.key, "cpu", size, *self._view)

  def save_name(self, value):
    self.write(f"c{value.module}\n{value.name}\n".encode())
    self.memoize(value)

  dispatch[Global] = save_name


def _pickle(value: Any, view: bool = False) -> bytes:
  file = io.BytesIO()
  _Pickler(file, view).dump(value)
  return file.getvalue()


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
  """Arrays by the names they should be read under."""
  if isinstance(tree, np.ndarray):
    yield prefix[:-1], tree
  elif isinstance(tree, dict | tuple):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, inner in items:
      yield from leaves(inner, f"{prefix}{key}.")


def tree():
  rng = np.random.RandomState(0)
  return {
    "conv.weight": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
    "conv.bias": rng.standard_normal(4).astype(np.float32),
    "transposed": rng.standard_normal((5, 2)).astype(np.float32).T,
    "half": rng.standard_normal((2, 1)).astype(np.float16),
    "count": np.asarray(7, np.int64),
    "r42": (np.ones((1, 2, 1, 1), np.float32), np.zeros(3, np.float32)),
    "epoch": 3,
  }


def outside(tmp_path, *, offset=3, shape=(5,), stride=(1,)):
  """A tensor of numbers that the file does not have."""
  array = np.ones(5, np.float32)
  return write_zip(
    tmp_path / "net.pth",
    {"x": array},
    lambda storage, *_: plain(storage, offset, shape, stride),
  )


def refused(path, says):
  with pytest.raises(UserError, match=says) as caught:
    tensor_file.read(path)
  assert str(path) in str(caught.value)
  assert len(str(caught.value)) < 600
  assert "\n" not in str(caught.value)
