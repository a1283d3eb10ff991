"""The feed that keeps the whole training set on the device, as it is stored.

A 64x64 benchmark is at most 60 MB, and a gather from it costs a fraction of
any host pipeline.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, cast

import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int, UInt8
import numpy as np

from medad_jax.data import index
from medad_jax.data.joined import Rows
from medad_jax.types import Batch

Feed = dict[str, np.ndarray]
# Closed by whoever reads them: processes may read ahead.
Chunks = Generator[Feed, None, None]
# Rows of a batch by name, images as they are stored -> the same, changed.
Change = Callable[[dict[str, Any]], dict[str, Any]]


class Resident:
  """Chunks of row numbers; the images are gathered inside the step."""

  def __init__(
    self,
    images: Rows,
    prepared: Mapping[str, np.ndarray] | None = None,
  ):
    self.images = np.asarray(images)  # joined once
    self.constant = {"image": self.images, **(prepared or {})}

  def beside(self, prepared: Mapping[str, np.ndarray]) -> "Resident":
    """The feed with more of each image: arrays [n ...] by name."""
    known = {k: v for k, v in self.constant.items() if k != "image"}
    return Resident(self.images, {**known, **prepared})

  def chunks(
    self,
    order: index.Order,
    bounds: Sequence[tuple[int, int]],
    members: Sequence[int],
    sources: bool,
    part: index.Part = index.everything,
  ) -> Chunks:
    """Yields, for each (start, stop), arrays [stop - start, k, b, ...].

    Args:
      order: the batches.
      bounds: steps of each chunk.
      members: whose batches.
      sources: whether every example has a second image.
      part: the members and rows that are wanted.
    """
    for start, stop in bounds:
      rows = index.cut(order.rows(start, stop, members), part)
      if not sources:
        del rows["source"]
      yield rows

  @staticmethod
  def batch(
    constant: dict[str, Array],
    chunk: dict[str, Int[Array, "*k b"]],
    change: Change | None = None,
  ) -> Batch:
    """A batch from row numbers, inside the step; leading axes are kept."""
    rows = {name: whole[chunk["id"]] for name, whole in constant.items()}
    if "source" in chunk:
      rows["source"] = constant["image"][chunk["source"]]
    return assemble(chunk | rows, change)


def normalize(
  images: UInt8[Array, "*n h w c"] | Float32[Array, "*n h w c"],
) -> Float[Array, "*n h w c"]:
  """Gray levels to [-1, 1], by the reference's (v / 255 - 0.5) / 0.5."""
  return (images.astype(jnp.float32) / 255.0 - 0.5) / 0.5


def assemble(chunk: dict[str, Array], change: Change | None = None) -> Batch:
  """A training batch: row numbers, images and what belongs to them.

  Args:
    chunk: arrays by name, images as they are stored.
    change: what else is done with them, before they are scaled.
  """
  if change is not None:
    chunk = change(chunk)
  rows = chunk["id"]
  known = {
    "image": normalize(chunk["image"]),
    # Training never sees a label: pools say what a member may look at.
    "label": jnp.full(rows.shape, -1, jnp.int32),
    "valid": jnp.ones(rows.shape, bool),
  }
  if "source" in chunk:
    known["source"] = normalize(chunk["source"])
  return cast(Batch, chunk | known)
