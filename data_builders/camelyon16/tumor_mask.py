"""Masks of tumors, of the size of a slide's overview."""

from jaxtyping import UInt8
import numpy as np
from PIL import Image, ImageDraw

from data_builders.camelyon16.annotation import Polygons

TUMOR = 127
HOLE = 255  # normal tissue inside a tumor


def draw(
  polygons: Polygons, size: tuple[int, int], overview: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
  """The mask of a slide, drawn at full size and shrunk.

  It is shrunk to the nearest pixel, as the library of the publication's time
  did without being told; later versions interpolate cubically, and find fewer
  tumors. So only the rows that are left in the end are drawn: a whole mask
  would fill 20 GB.

  Args:
    polygons: in pixels of the slide.
    size: width and height of the slide.
    overview: width and height of the mask.

  Returns:
    `TUMOR`, `HOLE` or 0 at every pixel of the overview.
  """
  width, height = size
  columns, rows = _middles(width, overview[0]), _middles(height, overview[1])
  return np.stack([_line(polygons, width, row)[columns] for row in rows])


def _middles(full: int, count: int) -> np.ndarray:
  """Places of the middles of `count` equal parts."""
  return np.floor((np.arange(count) + 0.5) * full / count).astype(np.int64)


def _line(polygons: Polygons, width: int, row: int) -> np.ndarray:
  """One row of the mask at full size."""
  image = Image.new("L", (width, 1))
  pen = ImageDraw.Draw(image)
  # Holes come last, over all tumors.
  for group, value in ((polygons.tumor, TUMOR), (polygons.holes, HOLE)):
    for one in group:
      pen.polygon([(x, y - int(row)) for x, y in one.vertices], fill=value)
  return np.asarray(image)[0]
