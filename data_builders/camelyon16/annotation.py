"""Polygons of the annotations, in the format of the viewer ASAP."""

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from data_builders.camelyon16.slide import SlideError

# Groups in the order in which their polygons are drawn; what is in another
# group is not drawn at all. Polygons of _2 are normal tissue inside a tumor.
TUMOR_GROUPS = ("Tumor", "_0", "_1")
HOLE_GROUPS = ("_2",)


@dataclasses.dataclass(frozen=True)
class Polygon:
  """A closed outline.

  Attributes:
    name: of the annotation.
    vertices: (x, y) in whole pixels of the slide; x runs along a row. They may
      lie outside of the slide.
  """

  name: str
  vertices: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Polygons:
  """The outlines of tumors, and of the normal tissue inside of them."""

  tumor: tuple[Polygon, ...]
  holes: tuple[Polygon, ...]


def read(path: Path) -> Polygons:
  """Reads the polygons of an XML file, the groups one after another.

  Raises:
    SlideError: it cannot be read, or is no annotation.
  """
  try:
    root = ElementTree.parse(path).getroot()
    found = {
      group: _of_group(root, group) for group in TUMOR_GROUPS + HOLE_GROUPS
    }
  except OSError as error:
    raise SlideError(
      f"{path.name} cannot be read ({error.strerror or error})"
    ) from error
  except (ElementTree.ParseError, KeyError, ValueError) as error:
    raise SlideError(
      f"{path.name} is no annotation with polygons ({error})"
    ) from error

  def of(groups: tuple[str, ...]) -> tuple[Polygon, ...]:
    return tuple(one for group in groups for one in found[group])

  return Polygons(of(TUMOR_GROUPS), of(HOLE_GROUPS))


def check_inside(polygons: Polygons, width: int, height: int) -> None:
  """Raises SlideError if a polygon lies outside of the slide altogether.

  One that crosses the edge is drawn as far as it is inside.
  """
  for one in (*polygons.tumor, *polygons.holes):
    x, y = np.array(one.vertices).T
    if x.max() < 0 or y.max() < 0 or x.min() >= width or y.min() >= height:
      raise SlideError(
        f"its polygon '{one.name}' lies outside of the slide's"
        f" {width} x {height} pixels; is it of another slide?"
      )


def _of_group(root: ElementTree.Element, group: str) -> list[Polygon]:
  return [
    Polygon(one.attrib["Name"], _vertices(one))
    for one in root.iterfind(f".//Annotation[@PartOfGroup='{group}']")
  ]


def _vertices(one: ElementTree.Element) -> tuple[tuple[int, int], ...]:
  points = [
    (float(point.attrib["X"]), float(point.attrib["Y"]))
    for point in one.iterfind(".//Coordinate")
  ]
  if not points:
    raise ValueError(f"'{one.attrib['Name']}' has no coordinates")
  # Halves go to the even number.
  return tuple((round(x), round(y)) for x, y in points)
