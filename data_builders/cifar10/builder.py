"""CIFAR-10: small photographs of ten classes."""

from collections.abc import Callable, Mapping
import hashlib
from pathlib import Path
import pickle

import numpy as np

from data_builders import notices, packed, remote
from medad_jax.types import UserError

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = ("test_batch",)
_SHAPE = (3, 32, 32)
_BYTES = 1 + 3 * 32 * 32  # of an image in the binary version: class and pixels

# Of the official Python version. A pickle is a program, so no other is opened.
MD5 = {
  "data_batch_1": "c99cafc152244af753f735de768cd75f",
  "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
  "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
  "data_batch_4": "634d18415352ddfa80567beed471001a",
  "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
  "test_batch": "40351d587109b95175f43aff81a1287e",
}


class Builder(packed.PackedBuilder, skip_registration=True):
  """Color photographs of 32x32 pixels, 6,000 of each of ten classes.

  The classes are 0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6
  frog, 7 horse, 8 ship, 9 truck: config.data.name=cifar10:3 calls cats normal.
  """

  CITATION = (
    "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
  )
  HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
  LICENSE = "none stated; the authors ask for a citation"
  SOURCE = (
    "the folder cifar-10-batches-bin or cifar-10-batches-py, with"
    " data_batch_1 to data_batch_5 and test_batch"
  )
  # The binary version: nobody has to trust a pickle.
  REMOTE = (
    remote.Remote(
      "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
      "c32a1d4ab5d03f1284b67883e8d13530",
    ),
  )
  PUBLISHED = {"train": 50000, "test": 10000}

  def read(self) -> Mapping[str, packed.Part]:
    """The batches, of the binary version where both are there."""
    names = (*_TRAIN, *_TEST)
    binary = any((self.source / f"{name}.bin").is_file() for name in names)
    suffix, reader = (".bin", _binary) if binary else ("", _pickled)
    paths = {name: self.source / f"{name}{suffix}" for name in names}
    absent = [path.name for path in paths.values() if not path.is_file()]
    if absent:
      raise UserError(
        f"{self.source} lacks {', '.join(absent)}; --source must be"
        f" {self.SOURCE}."
      )
    contents = {name: path.read_bytes() for name, path in paths.items()}
    (_check_sizes if binary else _check_sums)(self.source, contents)
    return {
      "train": _joined(reader, [contents[name] for name in _TRAIN]),
      "test": _joined(reader, [contents[name] for name in _TEST]),
    }


def _joined(
  reader: Callable[[bytes], packed.Part], contents: list[bytes]
) -> packed.Part:
  images, classes = zip(*map(reader, contents), strict=True)
  return packed.Part(np.concatenate(images), np.concatenate(classes))


def _binary(content: bytes) -> packed.Part:
  rows = np.frombuffer(content, np.uint8).reshape(-1, _BYTES)
  return _part(rows[:, 1:], rows[:, 0])


def _pickled(content: bytes) -> packed.Part:
  # Only after `_check_sums`: these are the official bytes.
  found = pickle.loads(content, encoding="bytes")
  return _part(found[b"data"], np.array(found[b"labels"]))


def _part(pixels, classes):
  images = pixels.reshape(-1, *_SHAPE).transpose(0, 2, 3, 1)
  return packed.Part(np.ascontiguousarray(images), classes.astype(int))


def _check_sizes(source: Path, contents: Mapping[str, bytes]) -> None:
  wrong = [
    f"{name}.bin: {len(content):,} bytes"
    for name, content in contents.items()
    if len(content) % _BYTES
  ]
  if wrong:
    raise UserError(
      f"{len(wrong)} of {len(contents)} files in {source} do not hold whole"
      f" images of {_BYTES:,} bytes; get them again:\n" + notices.listed(wrong)
    )


def _check_sums(source: Path, contents: Mapping[str, bytes]) -> None:
  sums = {k: hashlib.md5(v).hexdigest() for k, v in contents.items()}
  wrong = [
    f"{name}: {found} instead of {MD5[name]}"
    for name, found in sums.items()
    if found != MD5[name]
  ]
  if wrong:
    raise UserError(
      f"{len(wrong)} of {len(sums)} files in {source} have another MD5 sum than"
      " the official Python version, and pickles of unknown origin are not"
      " opened; get them again, or the binary version:\n"
      + notices.listed(wrong)
    )
