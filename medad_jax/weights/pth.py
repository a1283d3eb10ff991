"""PyTorch's files, read and written without PyTorch.

From 1.6 on, `torch.save` writes an archive: a pickle that describes the
tensors, and one member of values for each storage. Before, it wrote five
pickles and then the values in a row.
"""

from collections.abc import Mapping
import functools
import io
from pathlib import Path
import pickle
import struct
from typing import IO
import zipfile

import numpy as np

from medad_jax.types import UserError
from medad_jax.weights import pickled
from medad_jax.weights.tensors import Tensor

_MAGIC = 0x1950A86A20F9469CFC6C  # the first of the five pickles
LEGACY_START = pickle.dumps(_MAGIC, protocol=2)

# Our archives have the same bytes whenever they are written.
_WRITTEN = (1980, 1, 1, 0, 0, 0)
_ROOT = "archive"
_STORAGE_NAMES = {dtype: name for name, dtype in pickled.STORAGES.items()}


def read_archive(path: Path, file: io.BufferedReader) -> dict[str, Tensor]:
  """Tensors by name from a file of PyTorch 1.6 or later.

  Raises:
    UserError: it is of another kind, or holds more than tensors.
    Exception: it is damaged; use it inside `tensors.reading`.
  """
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
    if order in names and _member(archive, path, order, 16) != b"little":
      raise _big_endian(path)

    def storage(key: str, dtype: np.dtype, size: int) -> pickled.Storage:
      name = f"{root}data/{key}"
      if _size_of(archive, path, name) != size * dtype.itemsize:
        raise ValueError(f"{name} has another size than expected")
      return pickled.Storage(
        dtype, size, functools.partial(_read_member, path, name, dtype)
      )

    described = _member(archive, path, pickles[0], pickled.MOST_BYTES)
    tree = pickled.load(io.BytesIO(described), path, storage)
  return pickled.named(tree)


def read_legacy(path: Path, file: io.BufferedReader) -> dict[str, Tensor]:
  """Tensors by name from a file of an earlier PyTorch.

  Raises:
    UserError: it holds more than tensors.
    Exception: it is damaged; use it inside `tensors.reading`.
  """
  sizes: dict[str, tuple[np.dtype, int]] = {}
  places: dict[str, int] = {}

  def storage(key: str, dtype: np.dtype, size: int) -> pickled.Storage:
    sizes[key] = dtype, size
    return pickled.Storage(
      dtype, size, lambda: np.fromfile(path, dtype, size, offset=places[key])
    )

  # Not the whole file: it may have gigabytes of values.
  head = io.BytesIO(file.read(pickled.MOST_BYTES))
  load = functools.partial(pickled.load, head, path, storage)
  load()  # the magic number, which was compared
  load()  # the version, always 1001
  if not load()["little_endian"]:
    raise _big_endian(path)
  found = pickled.named(load())
  keys = load()
  file.seek(head.tell())
  for key in keys:
    dtype, size = sizes[key]
    if struct.unpack("<q", file.read(8)) != (size,):
      raise ValueError(f"storage {key} has an unexpected size")
    places[key] = file.tell()
    file.seek(size * dtype.itemsize, 1)
  if path.stat().st_size < file.tell():
    raise ValueError(f"{path.stat().st_size} bytes of {file.tell()}")
  if places.keys() != sizes.keys():
    raise ValueError("storages are missing")
  return found


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by name, as `torch.save` of a dict of tensors does.

  `torch.load(PATH, weights_only=True)` reads them. Equal arrays in equal order
  give equal bytes.

  Args:
    file: open for writing.
    arrays: of the types in `pickled.STORAGES`, little-endian and contiguous.
  """
  with zipfile.ZipFile(file, "w") as archive:
    members: dict[str, bytes | memoryview] = {
      "data.pkl": _description(arrays),
      "byteorder": b"little",
      **{f"data/{i}": memoryview(a) for i, a in enumerate(arrays.values())},
      "version": b"3\n",
    }
    for name, content in members.items():
      info = zipfile.ZipInfo(f"{_ROOT}/{name}", _WRITTEN)
      with archive.open(info, "w", force_zip64=True) as member:
        member.write(content)


def _member(
  archive: zipfile.ZipFile, path: Path, name: str, most: int
) -> bytes:
  """The content of a member of at most so many bytes."""
  size = _size_of(archive, path, name)
  if size > most:
    raise UserError(
      f"{path} has a {name} of {size:,} bytes, more than the {most:,} that"
      " tensors need; save the numbers alone, with"
      " torch.save(model.state_dict(), FILE)."
    )
  return archive.read(name)


def _size_of(archive: zipfile.ZipFile, path: Path, name: str) -> int:
  """Bytes of a member, checked to be in the file as they are.

  A compressed member could inflate to any size; PyTorch compresses nothing.
  """
  info = archive.getinfo(name)
  if info.compress_type != zipfile.ZIP_STORED:
    raise UserError(
      f"{path} has a compressed {name}, which PyTorch does not write; load it"
      " with PyTorch and save it again."
    )
  if info.file_size > path.stat().st_size:
    raise ValueError(f"{name} is larger than the file")
  return info.file_size


def _read_member(path: Path, name: str, dtype: np.dtype) -> np.ndarray:
  with zipfile.ZipFile(path) as archive:
    return np.frombuffer(archive.read(name), dtype)


def _big_endian(path: Path) -> UserError:
  return UserError(f"{path} is big-endian; save it on a common machine.")


def _description(arrays: Mapping[str, np.ndarray]) -> bytes:
  """The pickle of a dict of tensors, in protocol 2 as PyTorch writes it.

  Python's pickler would want PyTorch's functions to be importable.
  """
  entries = b"".join(
    _plain(name) + _tensor(str(i), array)
    for i, (name, array) in enumerate(arrays.items())
  )
  begin, empty_dict, mark = b"\x80\x02", b"}", b"("
  return begin + empty_dict + mark + entries + b"u."  # SETITEMS, STOP


def _tensor(key: str, array: np.ndarray) -> bytes:
  """The call of PyTorch's function that makes a contiguous tensor."""
  reference = (
    *(b"(", _plain("storage")),
    b"ctorch\n" + _STORAGE_NAMES[array.dtype].encode() + b"\n",
    *(_plain(key), _plain("cpu"), _plain(array.size)),
    b"tQ",  # TUPLE, BINPERSID
  )
  strides = tuple(s // array.itemsize for s in array.strides)
  hooks = b"ccollections\nOrderedDict\n)R"  # an empty one
  return b"".join(
    (
      b"ctorch._utils\n_rebuild_tensor_v2\n(",
      *reference,
      *(_plain(0), _plain(array.shape), _plain(strides)),
      *(_plain(False), hooks),
      b"tR",  # TUPLE, REDUCE
    )
  )


def _plain(value: object) -> bytes:
  """The operations that push a number, a text or a tuple of numbers."""
  return pickle.dumps(value, protocol=2)[2:-1]  # without PROTO and STOP
