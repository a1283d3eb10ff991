"""Sets of small images that the source keeps as arrays, many in a file."""

from collections.abc import Iterator, Mapping, Sequence
import functools
import io
from typing import NamedTuple

from jaxtyping import Int, UInt8
import numpy as np
from PIL import Image

from data_builders import base
from medad_jax.data import columns
from medad_jax.types import UserError

CLASSES = 10


class Part(NamedTuple):
  """The images of a split and their classes, 0 to 9."""

  images: UInt8[np.ndarray, "n h w 3"]
  classes: Int[np.ndarray, "n"]


class PackedBuilder(base.SetBuilder, skip_registration=True):
  """A set with ten classes, any of which may be called the normal one.

  All images have the label of normal ones and the column `class`. A builder
  defines `read`.
  """

  def read(self) -> Mapping[str, Part]:
    """The splits, in the order of the source.

    Raises:
      UserError: files are missing or damaged.
    """
    raise NotImplementedError

  @functools.cached_property
  def parts(self) -> Mapping[str, Part]:
    """The splits, read once; their classes are those that there are."""
    found = self.read()
    for split, part in found.items():
      strange = sorted(set(part.classes.tolist()) - set(range(CLASSES)))
      if strange or not len(part.classes):
        what = f"the classes {strange[:8]}" if strange else "no images"
        raise UserError(
          f"{self.source} has {what} in {split}, and 0 to {CLASSES - 1} are"
          " known; get its files again."
        )
    return found

  def find(self) -> Mapping[str, list[base.Row]]:
    """All images of both splits."""
    return {
      split: [
        base.Row(f"{split}/{i:05}", 0, columns={columns.CLASS: str(number)})
        for i, number in enumerate(part.classes)
      ]
      for split, part in self.parts.items()
    }

  def channels(self) -> int:
    """All are in color."""
    return 3

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """The images as PNG, which loses nothing."""
    for row in rows:
      split, _, number = row.name.partition("/")
      file = io.BytesIO()
      pixels = self.parts[split].images[int(number)]
      Image.fromarray(pixels).save(file, "PNG")
      yield file.getvalue(), None
