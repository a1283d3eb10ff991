"""Expected numbers of the reference nets, and what they were made from."""

import json
import pathlib
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import types
from medad_jax.training import Optimizer

_FOLDER = pathlib.Path(__file__).parent
CONTEXT = types.Context(
  jax.random.key(0),
  step=jnp.zeros((), jnp.int32),
  epoch_steps=jnp.ones((), jnp.int32),
  epochs=jnp.ones((), jnp.int32),
)


def load(case: str) -> dict[str, Any]:
  """The arrays of `case.npz`; those of JSON, such as "shapes", as dicts."""
  with np.load(_FOLDER / f"{case}.npz") as stored:
    out = dict(stored)
  for name, value in out.items():
    if value.dtype.kind == "U" and str(value)[:1] in "{[":
      out[name] = json.loads(str(value))
  return out


def exact(case: str) -> tuple[np.ndarray, dict[str, float]]:
  """Losses and norms of the first gradient from the reference in float64."""
  with np.load(_FOLDER / "float64.npz") as stored:
    norms = stored.get(f"{case}/grad_norms", "{}")
    return stored[f"{case}/losses"], json.loads(str(norms))


def statistics(case: str) -> dict[str, np.ndarray]:
  """Running statistics after one step, by their PyTorch key; perhaps none."""
  with np.load(_FOLDER / "statistics.npz") as stored:
    return {
      name.removeprefix(f"{case}/"): stored[name]
      for name in stored
      if name.startswith(f"{case}/")
    }


def normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Standard normal draws, float64, from the stream of that name."""
  return _stream(name).standard_normal(shape)


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Draws from [0, 1), float64, from the stream of that name."""
  return _stream(name).uniform(0, 1, shape)


def _stream(name):
  return np.random.RandomState(zlib.crc32(name.encode()))


def sampled(x: np.ndarray) -> np.ndarray:
  """The pixels that are stored of large arrays (..., h, w).

  Every eighth row and column, and the two at each border.
  """
  rows, columns = (
    np.unique([0, 1, *range(first, side, 8), side - 2, side - 1])
    for first, side in zip((3, 5), x.shape[-2:], strict=True)
  )
  return x[..., rows[:, None], columns]


def close(got: Any, wanted: Any, **tolerance: Any) -> None:
  """Fails unless arrays agree, at the stored pixels of a large one."""
  got = np.asarray(got)
  if got.ndim == np.ndim(wanted) == 4 and got.shape != wanted.shape:
    got = sampled(got)
  np.testing.assert_allclose(got, wanted, **tolerance)


def channels_last(x: np.ndarray) -> jax.Array:
  """(b, c, h, w) -> (b, h, w, c)."""
  return jnp.asarray(x.transpose(0, 2, 3, 1))


def channels_first(x: jax.Array) -> np.ndarray:
  """(b, h, w, c) -> (b, c, h, w)."""
  return np.asarray(x).transpose(0, 3, 1, 2)


def batch_of(image: jax.Array) -> types.Batch:
  """A batch that holds these images."""
  b = image.shape[0]
  return types.Batch(
    image=image,
    label=jnp.zeros(b, jnp.int32),
    valid=jnp.ones(b, bool),
    slot=jnp.arange(b),
    id=jnp.arange(b),
  )


def state_of(params: Any, extra: Any) -> types.TrainState:
  """One member's state, to predict with."""
  return types.TrainState(
    step=jnp.zeros((), jnp.int32),
    params={"net": params},
    extra={"net": extra},
    opt=None,
    key=jax.random.key(0),
  )


def doubled(tree: Any) -> Any:
  """The same numbers as float64 arrays."""
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


# How DDAD-ASR trains its reconstruction nets and its refinement net, and how
# MedIAnomaly trains.
ENSEMBLES = Optimizer(learning_rate=5e-4, b1=0.5)
REFINEMENT = Optimizer(learning_rate=1e-4, b1=0.5, weight_decay=1e-4)
MEDIANOMALY = Optimizer(learning_rate=1e-3)
