"""Slides with a square of stained tissue, as pyramids in TIFF files."""

import dataclasses
from pathlib import Path
import zlib

import numpy as np
import tifffile

from data_builders import dpa_lists
from data_builders.camelyon16 import recipe
from data_builders.camelyon16.patch_lists import Patch

SMALL = recipe.Recipe(level=4, row=480, column=480, size=96)
_TILE = 256
_WHITE = 243


@dataclasses.dataclass(frozen=True)
class Tissue:
  """A square of tissue; everything around it was not scanned.

  Attributes:
    row: of the upper left corner, pixels of the slide.
    column: of the same.
    size: height and width.
  """

  row: int = 480
  column: int = 480
  size: int = 96


def write(
  path: Path,
  seed: int,
  *,
  level: int = 4,
  size: tuple[int, int] = (1056, 1056),
  tissue: Tissue | None = Tissue(),
) -> Path:
  """A slide of two levels, the whole and 1 / 2**level, of size (w, h)."""
  path.parent.mkdir(parents=True, exist_ok=True)
  height, width = size[::-1]
  overview = np.full((height >> level, width >> level, 3), _WHITE, np.uint8)
  if tissue is not None:
    low = [at >> level for at in (tissue.row, tissue.column)]
    high = [at + (tissue.size >> level) for at in low]
    place = overview[low[0] : high[0], low[1] : high[1]]
    place[:] = [150, 95, 160]  # even, so that Otsu's threshold is above all
  with tifffile.TiffWriter(path, bigtiff=True) as file:
    options = {"photometric": "rgb", "compression": "adobe_deflate"}
    file.write(
      _tiles(seed, width, height, tissue),
      shape=(height, width, 3),
      dtype=np.uint8,
      tile=(_TILE, _TILE),
      **options,
    )
    file.write(overview, tile=(64, 64), subfiletype=1, **options)
  return path


def stained(seed: int, shape: tuple[int, int]) -> np.ndarray:
  """Pixels [h w 3] of random amounts of hematoxylin and eosin."""
  random = np.random.RandomState(seed)
  stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
  amounts = random.gamma(2.0, 0.25, (*shape, 2))
  return np.uint8(255 * np.exp(-amounts @ stains))


def _tiles(seed, width, height, tissue):
  """Encoded tiles row by row; none, which is transparent, without tissue."""
  for row in range(0, height, _TILE):
    for column in range(0, width, _TILE):
      rows, columns = _within(tissue, row, column)
      if not rows or not columns:
        yield b""
        continue
      tile = np.full((_TILE, _TILE, 3), _WHITE, np.uint8)
      place = tile[rows.start : rows.stop, columns.start : columns.stop]
      place[:] = stained(seed + row + 7 * column, place.shape[:2])
      yield zlib.compress(tile.tobytes(), 1)


def _within(tissue, row, column):
  if tissue is None:
    return range(0), range(0)

  def inside(first, at):
    return range(max(at - first, 0), min(at + tissue.size - first, _TILE))

  return inside(row, tissue.row), inside(column, tissue.column)


def annotate(path: Path, *polygons: tuple[str, list[tuple[float, float]]]):
  """An annotation of (group, vertices)."""
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = ["<ASAP_Annotations><Annotations>"]
  for number, (group, vertices) in enumerate(polygons):
    lines.append(
      f'<Annotation Name="Annotation {number}" Type="Polygon"'
      f' PartOfGroup="{group}"><Coordinates>'
    )
    lines += [f'<Coordinate Order="0" X="{x}" Y="{y}" />' for x, y in vertices]
    lines.append("</Coordinates></Annotation>")
  lines.append("</Annotations></ASAP_Annotations>")
  path.write_text("\n".join(lines))


def _names(slide: str, kind: str, count: int) -> list[str]:
  """Patches in the tissue of a small slide."""
  places = [(480, 480), (528, 480), (480, 528), (528, 528)]
  size = SMALL.patch
  return [Patch(slide, kind, *at, size).name for at in places[:count]]


LISTS = dpa_lists.Split(
  train=[
    *_names("normal_002", "normal", 1),
    *_names("normal_056", "normal", 4),
  ],
  normal=_names("test_001", "normal", 4),
  abnormal=_names("test_002", "tumor", 3),
  few=_names("tumor_001", "tumor", 3),
)


def camelyon16(folder: Path) -> Path:
  """Five small slides, the annotations of two of them, and the reference."""
  places = {
    "normal_002": "training/normal",
    "normal_056": "training/normal",
    "tumor_001": "training/tumor",
    "test_001": "testing/images",
    "test_002": "testing/images",
  }
  for seed, (name, place) in enumerate(places.items()):
    write(folder / place / f"{name}.tif", seed)
  # The left half of the tissue, which is two patches.
  half = [(470, 470), (527, 470), (527, 590), (470, 590)]
  for name in ("tumor_001", "test_002"):
    annotate(folder / "annotations" / f"{name}.xml", ("Tumor", half))
  rows = "test_001,Normal,None,None\ntest_002.tif,Tumor,IDC,Macro\n"
  (folder / "testing" / "reference.csv").write_text(rows)
  return folder
