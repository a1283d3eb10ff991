"""Tensors that are still in their file, and the errors of reading one."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
from pathlib import Path

import numpy as np

from medad_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor whose values are read when they are asked for.

  Attributes:
    shape: its sides.
    read: returns the values, an array of this shape.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
  """Turns every error while a file is read into one sentence.

  Raises:
    UserError: the file cannot be opened, or its content makes no sense.
  """
  try:
    yield
  except UserError:
    raise
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror or error}); give the path of a"
      " .pth or .safetensors file."
    ) from error
  except Exception as error:  # damaged bytes can raise anything
    raise damaged(path, error) from error


def damaged(path: Path, reason: object) -> UserError:
  """The sentence about a file whose content makes no sense."""
  # Errors may quote the file, which can be long and of several lines.
  short = " ".join(str(reason).split())[:200] or type(reason).__name__
  return UserError(
    f"{path} is damaged or incomplete ({short}); copy or download it again."
  )


def unknown_type(path: Path, kind: str) -> UserError:
  """The sentence about values of a type that numpy lacks, such as bfloat16."""
  return UserError(
    f"{path} stores values as {kind}, which numpy does not know; save them as"
    " float32."
  )
