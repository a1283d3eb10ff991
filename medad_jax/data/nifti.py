"""Volumes in NIfTI-1 files, with numpy alone.

The format: https://nifti.nimh.nih.gov/nifti-1. A header of 348 bytes, then the
numbers, the first axis fastest.
"""

import dataclasses
import gzip
from pathlib import Path
import zlib

from jaxtyping import Float, Shaped
import numpy as np

from medad_jax.types import UserError

_HEADER = 348
_KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2"}
_MOST = 2**31  # numbers of a volume; more are a damaged header


class Damaged(UserError):
  """No volume that can be read.

  Attributes:
    reason: why, without the file's name.
  """

  def __init__(self, path: Path, reason: str):
    super().__init__(
      f"{path} cannot be read as a NIfTI-1 volume ({reason}); restore it."
    )
    self.reason = reason


@dataclasses.dataclass(frozen=True)
class Header:
  """The description of a volume in its file.

  Attributes:
    shape: of the volume; axes of length 1 beyond the third are left out.
    kind: NumPy's type of the stored numbers.
    start: bytes before the first number.
    scale: factor of the stored numbers.
    shift: added to them afterwards.
    directions: in which the axes of the array run, as columns that point to
      the right, to the front and to the top; zero where the file does not say.
  """

  shape: tuple[int, int, int]
  kind: np.dtype
  start: int
  scale: float
  shift: float
  directions: Float[np.ndarray, "3 3"]

  @property
  def order(self) -> tuple[tuple[int, bool], ...]:
    """The array's axis for right, front and top, and if it runs backwards.

    An oblique axis is the one that it is nearest to.
    """
    left = np.abs(self.directions)
    if not (np.isfinite(left).all() and left.any(0).all()):
      return tuple((axis, False) for axis in range(3))
    left /= np.linalg.norm(left, axis=0)
    found = {}
    for _ in range(3):
      world, axis = divmod(int(np.argmax(left)), 3)
      found[world] = axis, bool(self.directions[world, axis] < 0)
      left[world], left[:, axis] = -1, -1
    return tuple(found[world] for world in range(3))


def read_header(path: Path) -> Header:
  """The header of a file, .nii or .nii.gz.

  Raises:
    UserError: the file cannot be read, or is no such volume.
  """
  return _parsed(path, _bytes(path, _HEADER))


def read(path: Path) -> Shaped[np.ndarray, "x y z"]:
  """The numbers of a file; scaled ones as float32.

  Raises:
    UserError: the file cannot be read, is no such volume, or is cut off.
  """
  data = _bytes(path)
  header = _parsed(path, data[:_HEADER])
  count = int(np.prod(header.shape))
  if len(data) < header.start + count * header.kind.itemsize:
    raise Damaged(path, "it is shorter than its header says")
  found = np.frombuffer(data, header.kind, count, header.start)
  found = found.reshape(header.shape, order="F")
  if (header.scale, header.shift) == (1.0, 0.0):
    return found
  return (found * header.scale + header.shift).astype(np.float32)


def _bytes(path: Path, count: int = -1) -> bytes:
  try:
    with path.open("rb") as file:
      if path.suffix != ".gz":
        return file.read(count)
      with gzip.GzipFile(fileobj=file) as packed:
        return packed.read(count)
  except (OSError, EOFError, zlib.error) as error:
    said = getattr(error, "strerror", None) or f"it is damaged: {error}"
    raise Damaged(path, said) from error


def _parsed(path, data) -> Header:
  if len(data) < _HEADER or data[344:347] not in (b"n+1",):
    raise Damaged(path, "it has no NIfTI-1 header")
  order = "<" if np.frombuffer(data, "<i4", 1)[0] == _HEADER else ">"
  if np.frombuffer(data, f"{order}i4", 1)[0] != _HEADER:
    raise Damaged(path, "its header has another size")

  def number(kind, at, count=1):
    return np.frombuffer(data, order + kind, count, at).tolist()

  axes, *sides = number("i2", 40, 8)
  (code,) = number("i2", 70)
  start, slope, shift = number("f4", 108, 3)
  sides = sides[: max(axes, 0)]
  good = 3 <= axes <= 7 and all(n > 0 for n in sides)
  if not good or any(n > 1 for n in sides[3:]) or np.prod(sides) > _MOST:
    if good and len(sides) == 4:
      raise Damaged(path, f"it is a series of {sides[3]} volumes, not one")
    raise Damaged(path, f"its sides are {tuple(sides)}, not three")
  if code not in _KINDS:
    raise Damaged(path, f"its numbers are of kind {code}")
  if not _HEADER <= start < _MOST:
    raise Damaged(path, "its numbers start nowhere")
  # A slope of 0 means that nothing is scaled.
  scaled = slope != 0 and np.isfinite([slope, shift]).all()
  return Header(
    tuple(sides[:3]),
    np.dtype(order + _KINDS[code]),
    int(start),
    slope if scaled else 1.0,
    shift if scaled else 0.0,
    _directions(number),
  )


def _directions(number) -> Float[np.ndarray, "3 3"]:
  """Directions of the axes, by the header's matrix or by its quaternion."""
  by_quaternion, by_matrix = number("i2", 252, 2)
  if by_matrix > 0:
    return np.array(number("f4", 280, 12)).reshape(3, 4)[:, :3]
  if by_quaternion <= 0:
    return np.zeros((3, 3))
  b, c, d = number("f4", 256, 3)
  a = max(1 - b * b - c * c - d * d, 0.0) ** 0.5
  turned = np.array(
    [
      [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
      [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
      [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
  )
  (sign,) = number("f4", 76)
  turned[:, 2] *= -1 if sign < 0 else 1
  return turned
