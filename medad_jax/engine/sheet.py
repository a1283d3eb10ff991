"""Contact sheets of synthetic anomalies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import files, rng
from medad_jax.data import joint
from medad_jax.engine import config as configuration
from medad_jax.engine import synthetic
from medad_jax.engine.settings import Data
from medad_jax.report import figures
from medad_jax.types import UserError


def draw(
  config: Mapping[str, Any], folder: Path, count: int, seed: int
) -> Path:
  """Makes anomalies in training images, as the method trains on them.

  Args:
    config: plain values, as a `configs/` file gives them.
    folder: where the sheet goes.
    count: images on it.
    seed: of everything random.

  Returns:
    The sheet's file.

  Raises:
    UserError: the method makes no anomalies, or the data do not fit.
  """
  if count < 1:
    raise UserError(f"count={count} draws nothing; set it to 1 or more.")
  data = configuration.settings_of(config).data
  method = configuration.build_method(config)
  if not hasattr(method, "examples"):
    raise UserError(
      f"{config['method']} makes no synthetic anomalies; choose a method that"
      " learns from them, such as nsa."
    )
  images = _some_images(data, count)
  batch = synthetic.batch(method, images)
  keys = rng.per_example(jax.random.key(seed), jnp.arange(len(images)))
  columns = _columns(method, keys, batch)
  path = folder / f"{data.name}_{config['method']}.png"
  files.write(path, figures.contact_sheet(columns))
  return path


def _columns(method, keys, batch) -> dict[str, np.ndarray]:
  """The method's examples in its own order, as jit returns sorted dicts."""
  names = []

  def examples(keys, batch):
    columns = method.examples(keys, batch)
    names.extend(columns)
    return tuple(columns.values())

  values = jax.jit(examples)(keys, batch)
  return dict(zip(names, map(np.asarray, values), strict=True))


def _some_images(data: Data, count: int) -> np.ndarray:
  """Training images at even distances, the middle of larger ones."""
  whole = joint.open_sets(
    data.name,
    data.dir,
    image_size=data.stored,
    channels=data.channels,
    preparation=data.preparation,
    need=("train",),
  )
  train = whole.splits["train"].center(data.image_size)
  count = min(count, len(train))
  # Not the first ones, as sets are often sorted by patient.
  return train.images[np.arange(count) * len(train) // count]
