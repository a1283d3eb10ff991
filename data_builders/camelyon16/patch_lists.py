"""Lists of patches: their names say where they are on which slide."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from pathlib import Path
import re

from data_builders import dpa_lists, notices
from data_builders.camelyon16.recipe import NORMAL, TUMOR
from medad_jax.types import UserError

# The published name, in which x is the row.
_NAME = re.compile(
  r"(?P<slide>[a-z]+_\d{3})_(?P<kind>normal|tumor)_x_(?P<row>\d+)_y_"
  r"(?P<column>\d+)_w_(?P<size>\d+)_h_(?P=size)\.jpg"
)
# Files below a folder of lists, and the kind of their patches.
FILES = {
  "normal/train": NORMAL,
  "normal/test": NORMAL,
  "anomaly/train": TUMOR,
  "anomaly/test": TUMOR,
}
Lists = Mapping[str, Sequence["Patch"]]


@dataclasses.dataclass(frozen=True)
class Patch:
  """A square of a slide.

  Attributes:
    slide: its name, such as normal_001.
    kind: "normal" or "tumor".
    row: of the upper left corner, pixels.
    column: of the same.
    size: height and width.
  """

  slide: str
  kind: str
  row: int
  column: int
  size: int

  @property
  def name(self) -> str:
    """The name that lists have."""
    return (
      f"{self.slide}_{self.kind}_x_{self.row}_y_{self.column}"
      f"_w_{self.size}_h_{self.size}.jpg"
    )


def published() -> Lists:
  """The lists of the publication."""
  split = dpa_lists.split("camelyon16")
  parts = (split.train, split.normal, split.few, split.abnormal)
  return {
    file: parsed(names, "the published lists")
    for file, names in zip(FILES, parts, strict=True)
  }


def read(folder: Path) -> Lists:
  """Lists of one's own, as `write` writes them.

  Raises:
    UserError: a list is missing, or has lines that name no patch.
  """
  found = {}
  for file in FILES:
    path = folder / f"{file}.txt"
    try:
      found[file] = parsed(path.read_text().split(), str(path))
    except (OSError, ValueError) as error:
      raise UserError(
        f"{path} cannot be read ({getattr(error, 'strerror', '') or error});"
        f" --patches={folder} must hold {', '.join(f'{x}.txt' for x in FILES)}."
      ) from error
  return found


def write(folder: Path, lists: Lists) -> None:
  """Writes lists, one name a line, which `--patches=FOLDER` reads."""
  for file, patches in lists.items():
    path = folder / f"{file}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{patch.name}\n" for patch in patches))


def parsed(names: Iterable[str], origin: str) -> list[Patch]:
  """The patches of names.

  Raises:
    UserError: some are no names of patches.
  """
  found, bad = [], []
  for name in names:
    match = _NAME.fullmatch(name)
    if match is None:
      bad.append(name)
      continue
    numbers = {key: int(match[key]) for key in ("row", "column", "size")}
    found.append(Patch(match["slide"], match["kind"], **numbers))
  if bad:
    raise UserError(
      f"{len(bad)} lines of {origin} name no patch, such as"
      " normal_001_normal_x_768_y_1536_w_768_h_768.jpg; mend them:\n"
      + notices.listed(bad)
    )
  return found


def by_slide(lists: Lists) -> dict[str, list[Patch]]:
  """The patches of each slide, each once."""
  found: dict[str, dict[Patch, None]] = {}
  for patches in lists.values():
    for patch in patches:
      found.setdefault(patch.slide, {})[patch] = None
  return {slide: list(patches) for slide, patches in found.items()}
