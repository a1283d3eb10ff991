"""SVHN, the cropped digits of street view house numbers."""

from collections.abc import Mapping
from pathlib import Path
import struct
import zlib

import numpy as np
import scipy.io

from data_builders import packed, remote
from medad_jax.types import UserError

_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
# What SciPy raises on damaged files.
_DAMAGED = (ValueError, TypeError, KeyError, NotImplementedError, EOFError)
_DAMAGED += (OSError, OverflowError, MemoryError, IndexError, zlib.error)
_DAMAGED += (struct.error,)


class Builder(packed.PackedBuilder, skip_registration=True):
  """Color photographs of digits, 32x32 pixels; a class is a digit.

  config.data.name=svhn:3 calls the digit 3 normal. The additional training
  images (`extra_32x32.mat`) are not used.
  """

  CITATION = (
    "Netzer et al., Reading Digits in Natural Images with Unsupervised Feature"
    " Learning, NIPS workshop 2011"
  )
  HOMEPAGE = "http://ufldl.stanford.edu/housenumbers/"
  LICENSE = "for non-commercial use only, as the authors' page says"
  SOURCE = "a folder with train_32x32.mat and test_32x32.mat"
  REMOTE = (
    remote.Remote(
      "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
      "e26dedcc434d2e4c54c9b2d4a06d8373",
    ),
    remote.Remote(
      "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
      "eb5a983be6a315427106f1b164d9cef3",
    ),
  )
  PUBLISHED = {"train": 73257, "test": 26032}

  def read(self) -> Mapping[str, packed.Part]:
    """Both files' images."""
    absent = [
      name for name in _FILES.values() if not (self.source / name).is_file()
    ]
    if absent:
      raise UserError(
        f"{self.source} lacks {', '.join(absent)}; --source must be"
        f" {self.SOURCE}."
      )
    return {split: _read(self.source / name) for split, name in _FILES.items()}


def _read(path: Path) -> packed.Part:
  try:
    found = scipy.io.loadmat(path)
    images, digits = found["X"], found["y"].ravel().astype(int)
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(digits)):
      raise ValueError(f"X is {images.dtype} of {images.shape}")
  except _DAMAGED as error:
    reason = " ".join(str(error).split())[:100]
    raise UserError(
      f"{path} is not the published file, or is damaged ({reason}); get it"
      " again."
    ) from error
  # The digit 0 is stored as 10.
  digits[digits == 10] = 0
  return packed.Part(np.ascontiguousarray(images.transpose(3, 0, 1, 2)), digits)
