"""Deterministic weights and images in PyTorch's layout.

Three fillers, by three origins of expected numbers. `named` gives every entry
of a PyTorch `state_dict` from the case's name and the entry's key; `hashed` and
`counted` give it from the entry's position. All are plain NumPy with frozen
streams, so that the expected numbers need no weights beside them.
"""

from collections.abc import Mapping
import zlib

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]
State = dict[str, np.ndarray]


def named(case: str, shapes: Shapes) -> State:
  """The `state_dict` of a case of `tests/golden/*.npz`, float32."""
  return {
    key: _named_entry(case, key, tuple(shape)) for key, shape in shapes.items()
  }


def named_images(case: str, shape: tuple[int, int, int, int]) -> np.ndarray:
  """Smooth pseudo-images in [-1, 1], float32, of `shape` (b, c, h, w)."""
  rng = np.random.RandomState(zlib.crc32(f"{case}/images".encode()))
  n, c, h, w = shape
  rows, columns = np.meshgrid(
    np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij"
  )
  out = np.zeros(shape)
  for i in range(n):
    for j in range(c):
      for _ in range(6):
        y, x = rng.uniform(-0.7, 0.7, 2)
        s, a = rng.uniform(0.1, 0.5), rng.uniform(-1, 1)
        squares = (rows - y) ** 2 + (columns - x) ** 2
        out[i, j] += a * np.exp(-squares / (2 * s * s))
  out += 0.05 * rng.standard_normal(shape)
  return np.clip(out, -1, 1).astype(np.float32)


def hashed(shapes: Shapes, first: int = 0) -> State:
  """A `state_dict` whose entry t comes from a hash of `first` + t, float64.

  Weights are uniform in +-sqrt(6 / fan in), their biases in +-1/sqrt(fan in), a
  memory in +-1/4.
  """
  counted = [key for key in shapes if not key.endswith("num_batches_tracked")]
  return {
    key: _hashed_entry(shapes, key, first + t) for t, key in enumerate(counted)
  }


def counted(shapes: Shapes, first: int = 0) -> State:
  """A `state_dict` whose entry j comes from a hash of `first` + j, float32.

  Weights are uniform in +-sqrt(3 / fan in), all biases in +-0.1.
  """
  keys = [key for key in shapes if not key.endswith("num_batches_tracked")]
  return {
    key: _counted_entry(key, tuple(shapes[key]), first + j)
    for j, key in enumerate(keys)
  }


def uniform(t: int, size: int) -> np.ndarray:
  """Numbers in [0, 1) from an integer hash of t and the position."""
  return _hash(np.arange(size, dtype=np.uint64) + 0x9E3779B9 * t)


def counted_uniform(j: int, size: int) -> np.ndarray:
  """Numbers in [0, 1) from another hash of j and the position."""
  return _hash(np.arange(size, dtype=np.uint64) + 0x9E3779B1 * j)


def _hash(x: np.ndarray) -> np.ndarray:
  mask = np.uint64(0xFFFFFFFF)
  x &= mask
  x ^= x >> np.uint64(16)
  x = x * np.uint64(0x7FEB352D) & mask
  x ^= x >> np.uint64(15)
  x = x * np.uint64(0x846CA68B) & mask
  x ^= x >> np.uint64(16)
  return x / 2.0**32


def _named_entry(case, key, shape):
  rng = np.random.RandomState(zlib.crc32(f"{case}/{key}".encode()))
  name = key.rsplit(".", 1)[-1]
  if name == "num_batches_tracked":
    return np.zeros(shape, np.int64)
  if name == "running_var" or (name == "weight" and len(shape) == 1):
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)
  normal = rng.standard_normal(shape)
  if len(shape) >= 2:
    return (normal / np.sqrt(_fan_in(shape))).astype(np.float32)
  return (0.1 * normal).astype(np.float32)


def _hashed_entry(shapes, key, t):
  shape = tuple(shapes[key])
  u = uniform(t, int(np.prod(shape))).reshape(shape)
  layer, name = key.rsplit(".", 1)
  weight = shapes.get(f"{layer}.weight", ())
  if "memory" in layer:
    return (2 * u - 1) * 0.25
  if len(shape) >= 2:
    return (2 * u - 1) * np.sqrt(6 / _fan_in(shape))
  if name == "bias" and len(weight) >= 2:
    return (2 * u - 1) / np.sqrt(_fan_in(weight))
  return {
    "weight": 0.5 + u,
    "running_var": 0.5 + u,
    "running_mean": 0.2 * u - 0.1,
    "bias": 0.4 * u - 0.2,
  }[name]


def _counted_entry(key, shape, j):
  u = counted_uniform(j, int(np.prod(shape))).reshape(shape)
  name = key.rsplit(".", 1)[1]
  if len(shape) >= 2:
    value = (2 * u - 1) * np.sqrt(3 / _fan_in(shape))
  elif name == "weight":
    value = 1 + 0.2 * (2 * u - 1)
  else:
    value = 0.5 + u if name == "running_var" else 0.1 * (2 * u - 1)
  return value.astype(np.float32)


def _fan_in(shape):
  return int(np.prod(shape[1:]))
