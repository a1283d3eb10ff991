"""fastMRI+: boxes around findings in fastMRI's brains, and labels of subjects.

Zhao et al., Scientific Data 9 (2022) 152.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
import csv
import dataclasses
import io
from pathlib import Path
import re

from jaxtyping import Bool
import numpy as np

from data_builders import notices
from data_builders.fastmri_lists import CLASSES
from medad_jax.types import UserError

NAME = "brain.csv"

_COLUMNS = (
  *("file", "slice", "study_level", "x", "y", "width", "height", "label"),
)
_SERIES = re.compile(r"file_brain_AXT1_\d+_\d+")
_MIDDLE = 3  # the slice of normal subjects, and the one to be near otherwise


@dataclasses.dataclass(frozen=True)
class Box:
  """A box of fastMRI+, in pixels of the slice as it is drawn there.

  Attributes:
    slice: number of the slice.
    x: left edge.
    y: upper edge.
    width: pixels.
    height: pixels.
    label: what fastMRI+ calls it.
  """

  slice: int
  x: int
  y: int
  width: int
  height: int
  label: str

  def marks(self, shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The pixels inside."""
    found = np.zeros(shape, bool)
    found[self.y : self.y + self.height, self.x : self.x + self.width] = True
    return found

  def is_inside(self, shape: tuple[int, int]) -> bool:
    """True if no part is outside of a slice."""
    return (
      min(self.x, self.y) >= 0
      and min(self.width, self.height) > 0
      and self.y + self.height <= shape[0]
      and self.x + self.width <= shape[1]
    )


def class_of(label: str) -> str | None:
  """RA's class of a label of fastMRI+; None where it uses none."""
  known = label.strip().casefold()
  for name, labels in CLASSES.items():
    if known in {one.casefold() for one in labels}:
      return name
  return None


def choose(boxes: Sequence[Box], labels: Counter | None) -> int:
  """The slice that stands for a subject: near slice 3, low in the stack.

  RA chose slices one by one. This rule, inferred, takes the nearest to slice 3
  whose boxes have exactly the wanted labels, or else the nearest with a box.

  Args:
    boxes: of the subject.
    labels: of the boxes that the slice should have; None for any.
  """
  by_slice = defaultdict(Counter)
  for box in boxes:
    if class_of(box.label):
      by_slice[box.slice][box.label.casefold()] += 1
  exact = [n for n, found in by_slice.items() if found == labels]
  places = exact or list(by_slice) or [_MIDDLE]
  return min(places, key=lambda n: (abs(n - _MIDDLE), n))


def read(
  path: Path,
) -> tuple[dict[str, list[Box]], dict[str, set[str]]]:
  """Reads the table of annotations.

  Args:
    path: brain.csv.

  Returns:
    Boxes, and labels of a subject as a whole in lower case, by the name of the
    file without its ending; of the series AXT1 only.

  Raises:
    UserError: the table is missing or damaged.
  """
  if not path.is_file():
    raise UserError(
      f"there is no {path}; take it from fastMRI+ (Annotations/brain.csv) and"
      " put it beside the raw files."
    )
  try:
    text = path.read_bytes().decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text, newline=""))
    header, lines = table.fieldnames or (), list(table)
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(f"{path} is not CSV ({error}); restore it.") from error
  if lacks := [name for name in _COLUMNS if name not in header]:
    raise UserError(
      f"{path} has no column {', '.join(lacks)}; it must have"
      f" {', '.join(_COLUMNS)}: restore it."
    )
  boxes: dict[str, list[Box]] = defaultdict(list)
  labels: dict[str, set[str]] = defaultdict(set)
  wrong = []
  for number, line in enumerate(lines, 2):
    name = (line["file"] or "").strip().removesuffix(".h5")
    label = (line["label"] or "").strip()
    if not _SERIES.fullmatch(name):
      continue
    if (line["study_level"] or "").strip().lower() in ("yes", "true", "1"):
      labels[name].add(label.casefold())
      continue
    try:
      places = [
        round(float(line[key]))
        for key in ("slice", "x", "y", "width", "height")
      ]
    except (TypeError, ValueError, OverflowError):
      wrong.append(f"line {number}: {name}, {label or 'no label'}")
      continue
    boxes[name].append(Box(*places, label))
  if wrong:
    raise UserError(
      f"{len(wrong)} lines of {path} have no numbers for slice, x, y, width and"
      " height; restore it:\n" + notices.listed(wrong)
    )
  return boxes, labels
