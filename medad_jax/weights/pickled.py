"""Tensors out of a pickle, without running it.

A pickle is a program. It can call any function, and a few bytes of it can ask
for gigabytes or for hours: a memo of 2^31 places, a list of ten references to a
list of ten references, and so on. So Python's own reader is not used. This one
knows the operations that dicts, lists, tuples and tensors need, calls nothing
but the stand-ins below, and counts what it does.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import io
import itertools
import math
from pathlib import Path
import pickle
import pickletools
from typing import Any

import numpy as np

from medad_jax.types import UserError
from medad_jax.weights import tensors
from medad_jax.weights.tensors import Tensor

MOST_BYTES = 16 << 20  # of a pickle: names and shapes, never values
# A tensor takes about 40 operations, ResNet152's state_dict 40,000.
_MOST_OPERATIONS = 500_000
_LONGEST_NAME = 200
_DEEPEST = 32
_HIGHEST_RANK = 64  # numpy's

# PyTorch's name of each type of values.
STORAGES = {
  "DoubleStorage": np.dtype("<f8"),
  "FloatStorage": np.dtype("<f4"),
  "HalfStorage": np.dtype("<f2"),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("<i1"),
  "ByteStorage": np.dtype("<u1"),
  "BoolStorage": np.dtype("?"),
}


@dataclasses.dataclass(frozen=True)
class Storage:
  """A row of values that tensors are views of.

  Attributes:
    dtype: type of the values.
    size: their number.
    read: returns them, an array [size].
  """

  dtype: np.dtype
  size: int
  read: Callable[[], np.ndarray]


def load(
  file: io.BytesIO,
  path: Path,
  storage: Callable[[str, np.dtype, int], Storage],
) -> Any:
  """The content of a pickle: containers, numbers, texts and tensors.

  Args:
    file: positioned at the pickle; afterwards, behind it.
    path: for messages.
    storage: makes the storage of (key, dtype, size).

  Raises:
    UserError: the pickle holds more than tensors, or takes too long to read.
    Exception: the pickle is damaged; use it inside `tensors.reading`.
  """
  return _Machine(path, storage).run(file)


def named(tree: Any) -> dict[str, Tensor]:
  """Tensors by their path in nested containers, such as "r42.0".

  Numbers and texts, such as an epoch, are left out.

  Raises:
    ValueError: containers hold each other too often or too deeply, or a name
      is too long or given twice.
  """
  found: dict[str, Tensor] = {}
  for name, tensor in _leaves(tree, (), itertools.count()):
    if name in found:
      raise ValueError(f"two tensors have the name {name}")
    found[name] = tensor
  return found


class _Machine:
  """The stack machine that pickles are written for."""

  def __init__(
    self, path: Path, storage: Callable[[str, np.dtype, int], Storage]
  ):
    self._path = path
    self._storage = storage
    self._stack: list[Any] = []
    self._marks: list[int] = []
    self._memo: dict[int, Any] = {}

  def run(self, file: io.BytesIO) -> Any:
    """The value that the pickle leaves on the stack."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
      if count == _MOST_OPERATIONS:
        raise UserError(
          f"{self._path} describes its tensors in more than"
          f" {_MOST_OPERATIONS:,} operations; save the numbers alone, with"
          " torch.save(model.state_dict(), FILE)."
        )
      if operation.name == "STOP":
        return self._stack.pop()
      self._do(operation.name, argument)
    raise ValueError("the pickle has no end")

  def _do(self, operation: str, argument: Any) -> None:
    stack, memo = self._stack, self._memo
    match operation:
      case "PROTO" | "FRAME":
        pass
      case _ if operation in _LITERALS:
        stack.append(argument)
      case _ if operation in _CONSTANTS:
        stack.append(_CONSTANTS[operation])
      case _ if operation in _EMPTY:
        stack.append(_EMPTY[operation]())
      case "MARK":
        self._marks.append(len(stack))
      case "POP":
        stack.pop()
      case "TUPLE":
        stack.append(tuple(self._since_mark()))
      case "TUPLE1" | "TUPLE2" | "TUPLE3":
        start = len(stack) - int(operation[-1])
        stack[start:] = [tuple(stack[start:])]
      case "APPEND":
        self._extend([stack.pop()])
      case "APPENDS":
        self._extend(self._since_mark())
      case "SETITEM":
        value, key = stack.pop(), stack.pop()
        _put(stack[-1], [(key, value)])
      case "SETITEMS":
        items = self._since_mark()
        _put(stack[-1], zip(items[::2], items[1::2], strict=True))
      case "BINPUT" | "LONG_BINPUT":
        memo[argument] = stack[-1]
      case "MEMOIZE":
        memo[len(memo)] = stack[-1]
      case "BINGET" | "LONG_BINGET":
        stack.append(memo[argument])
      case "GLOBAL":
        stack.append(self._stand_in(*argument.split(" ", 1)))
      case "STACK_GLOBAL":
        name, module = stack.pop(), stack.pop()
        stack.append(self._stand_in(module, name))
      case "REDUCE" | "NEWOBJ":
        arguments, function = stack.pop(), stack.pop()
        # Nothing on the stack can be called but the stand-ins.
        stack.append(function(*arguments))
      case "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], _Holder):
          stack[-1].fill(state)
        elif not isinstance(stack[-1], dict):  # a state_dict's _metadata
          raise self._more_than_tensors(f"a state of {type(stack[-1])}")
      case "BINPERSID":
        stack.append(self._referred(*stack.pop()))
      case _:
        raise self._more_than_tensors(f"the operation {operation}")

  def _since_mark(self) -> list[Any]:
    start = self._marks.pop()
    items = self._stack[start:]
    del self._stack[start:]
    return items

  def _extend(self, items: list[Any]) -> None:
    if not isinstance(self._stack[-1], list):
      raise ValueError("items for what is no list")
    self._stack[-1].extend(items)

  def _stand_in(self, module: str, name: str) -> Any:
    """Our equivalent of a function or class that the pickle names."""
    if module == "torch" and name in STORAGES:
      return STORAGES[name]
    if (module, name) in _KNOWN:
      return _KNOWN[module, name]
    if module == "torch" and name.endswith("Storage"):
      raise tensors.unknown_type(self._path, name.removesuffix("Storage"))
    raise self._more_than_tensors(f"{module}.{name}")

  def _more_than_tensors(self, what: str) -> UserError:
    return UserError(
      f"{self._path} holds more than tensors ({what[:100]}), which is not"
      " loaded because it could run code; save the numbers alone, with"
      " torch.save(model.state_dict(), FILE)."
    )

  def _referred(self, kind, dtype, key, _, size, view=None) -> Storage:
    """The storage that a tensor refers to."""
    sound = (
      kind == "storage"
      and view is None
      and isinstance(dtype, np.dtype)
      and isinstance(key, str)
      and type(size) is int
      and size >= 0
    )
    if not sound:
      raise pickle.UnpicklingError("a reference to something unknown")
    return self._storage(key, dtype, size)


_LITERALS = {
  *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
  *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
  *("BINSTRING", "SHORT_BINSTRING"),  # texts of Python 2
  *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
  "EMPTY_DICT": dict,
  "EMPTY_LIST": list,
  "EMPTY_TUPLE": tuple,
}


def _put(target: Any, items: Any) -> None:
  if not isinstance(target, dict):
    raise ValueError("entries for what is no dict")
  for key, value in items:
    # The hash of nested tuples that share their parts takes for ever.
    if not isinstance(key, str | int):
      raise ValueError("a key that is neither a name nor a number")
    target[key] = value


def _ordered_dict(items: Any = ()) -> dict:
  found: dict = {}
  _put(found, items)
  return found


def _tensor(storage: Storage, offset, shape, stride, *_) -> Tensor:
  """A view of a storage, checked to stay inside of it."""
  shape, stride = tuple(shape), tuple(stride)
  if not len(shape) == len(stride) <= _HIGHEST_RANK:
    raise ValueError("a tensor has strange sides")
  if any(type(n) is not int or n < 0 for n in (offset, *shape, *stride)):
    raise ValueError("a tensor reaches beyond its numbers")
  last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
  if 0 not in shape and last >= storage.size:
    raise ValueError("a tensor reaches beyond its numbers")
  # An expanded tensor: a few bytes could stand for any amount of memory.
  if math.prod(shape) > storage.size:
    raise ValueError("a tensor repeats its numbers")

  def read() -> np.ndarray:
    strides = [s * storage.dtype.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(
      storage.read()[offset:], shape, strides
    )

  return Tensor(shape, read)


class _Holder:
  """A tensor or parameter of PyTorch before 0.4, made first and filled then."""

  def __init__(self, data: Any = None, *_: Any):
    self.data = data

  def fill(self, state: Any) -> None:
    """Sets what the pickle keeps as the object's state."""
    if len(state) == 4:  # a tensor
      self.data = _tensor(*state)
    elif len(state) == 5:  # a parameter; one that was made with its data has 3
      self.data = state[0]


class _NumpyType(_Holder):
  """A `numpy.dtype`, made of its letters first and its byte order then."""

  def __init__(self, letters: str, *_: Any):
    super().__init__()
    if letters not in _LETTERS:
      raise ValueError("numbers of an unknown type")
    self.dtype = np.dtype("<" + letters)

  def fill(self, state: Any) -> None:
    """Checks the byte order."""
    if state[1] not in ("<", "|"):
      raise ValueError("numbers of another byte order")


class _NumpyArray(_Holder):
  """A `numpy.ndarray`, made empty first and filled then."""

  def __init__(self, *_: Any):
    super().__init__()

  def fill(self, state: Any) -> None:
    """Sets shape, type, order and the bytes of the numbers."""
    _, shape, kind, by_columns, content = state
    sound = (
      isinstance(kind, _NumpyType)
      and isinstance(content, bytes)
      and isinstance(shape, tuple)
      and all(type(n) is int and n >= 0 for n in shape)
      and len(shape) <= _HIGHEST_RANK
      and math.prod(shape) * kind.dtype.itemsize == len(content)
    )
    if not sound:
      raise ValueError("an array does not fit its numbers")
    order: Any = "F" if by_columns else "C"
    values = np.frombuffer(content, kind.dtype).reshape(shape, order=order)
    self.data = Tensor(shape, lambda: values)


def _scalar(kind: Any, content: Any = None) -> Any:
  """A numpy number, such as a step's; only named, as it is no tensor."""
  if not (isinstance(kind, _NumpyType) and isinstance(content, bytes)):
    raise ValueError("a number does not fit its type")
  return None


_LETTERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1")
# numpy 2 moved the function that makes arrays.
_MADE_BY = ("numpy.core.multiarray", "numpy._core.multiarray")

_KNOWN: Mapping[tuple[str, str], Callable[..., Any]] = {
  **{(module, "_reconstruct"): _NumpyArray for module in _MADE_BY},
  **{(module, "scalar"): _scalar for module in _MADE_BY},
  ("numpy", "ndarray"): _NumpyArray,  # what is to be made, only named
  ("numpy", "dtype"): _NumpyType,
  ("collections", "OrderedDict"): _ordered_dict,
  ("torch._utils", "_rebuild_tensor"): _tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _tensor,
  ("torch._utils", "_rebuild_parameter"): _Holder,
  ("torch.nn.parameter", "Parameter"): _Holder,
  ("torch", "FloatTensor"): _Holder,
  ("torch", "LongTensor"): _Holder,
}


def _leaves(
  value: Any, keys: tuple[Any, ...], count: Iterator[int]
) -> Iterator[tuple[str, Tensor]]:
  # Containers may be shared, so the tree can be larger than its description.
  if next(count) == _MOST_OPERATIONS or len(keys) > _DEEPEST:
    raise ValueError("it holds the same parts again and again")
  if isinstance(value, _Holder):
    yield from _leaves(value.data, keys, count)
  elif isinstance(value, Tensor):
    # A key that is shared by many tensors must not be copied for each.
    name = ".".join(str(key)[: _LONGEST_NAME + 1] for key in keys)
    if len(name) > _LONGEST_NAME:
      raise ValueError(f"a name has more than {_LONGEST_NAME} letters")
    yield name, value
  elif isinstance(value, dict | tuple | list):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
      yield from _leaves(inner, (*keys, key), count)
