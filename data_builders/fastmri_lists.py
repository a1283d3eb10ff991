"""RA's lists of fastMRI slices and boxes, and the PNG folders they name."""

from collections import Counter
from collections.abc import Mapping, Sequence
import csv
import functools
import io
from pathlib import Path
import re

from data_builders import base, notices
from medad_jax.data import columns
from medad_jax.types import UserError

IMAGES = "brain_mid_png"
BOXES = "brain_mid_anno_pos_png"
HEALTHY = "brain_mid_anno_neg_png"
LISTS = "splits"

# The lists of slices that are normal or abnormal as a whole.
SLICES = {
  "train": ("ixi_normal_train", 0),
  "val": ("normal_val", 0),
  "test": ("normal_test", 0),
  "test_pathology": ("global_pathology", 1),
  "test_artifact": ("global_artefact", 1),
}
# The lists of boxes, one a class, and the labels of fastMRI+ in each. The
# spelling of a list's name is that of its file.
CLASSES: Mapping[str, tuple[str, ...]] = {
  "absent_septum": ("Absent septum pellucidum",),
  "artefacts": ("Possible artifact",),
  "craniatomy": ("Craniotomy", "Craniectomy"),
  "dural": ("Dural thickening",),
  "edema": ("Edema",),
  "encephalomalacia": ("Encephalomalacia",),
  "enlarged_ventricles": ("Enlarged ventricles",),
  "intraventricular": ("Intraventricular substance",),
  "lesions": ("Nonspecific lesion",),
  "posttreatment": ("Posttreatment change",),
  "resection": ("Resection cavity",),
  "sinus": ("Paranasal sinus opacification",),
  "wml": ("Nonspecific white matter lesion",),
  "mass_all": ("Mass", "Extra-axial mass"),
}
LOCAL = "test_local"

_IXI = re.compile(r"IXI\d{3}")


class Lists:
  """The lists of a folder; of each line, folder and name of the file.

  Args:
    folder: with the csv files.

  Raises:
    UserError: lists are missing, are no text, or are empty; or the lists of a
      class are not of one length.
  """

  def __init__(self, folder: Path):
    self.folder = folder
    names = [name for name, _ in SLICES.values()]
    names += [
      name + ending for name in CLASSES for ending in ("", "_ann", "_neg")
    ]
    if absent := [n for n in names if not (folder / f"{n}.csv").is_file()]:
      raise UserError(
        f"{len(absent)} of {len(names)} lists are missing in {folder}; restore"
        " them:\n" + notices.listed([f"{name}.csv" for name in absent])
      )
    read = {name: _read(folder / f"{name}.csv") for name in names}
    self._lists = {
      name: [line for line in lines if not _IXI.search(line)]
      for name, lines in read.items()
    }
    self.ixi = sum(map(len, read.values())) - sum(
      map(len, self._lists.values())
    )
    self._check_lengths()

  def __getitem__(self, name: str) -> list[str]:
    return self._lists[name]

  def _check_lengths(self) -> None:
    empty = [f"{name}.csv" for name, lines in self._lists.items() if not lines]
    if empty:
      raise UserError(
        f"{len(empty)} lists in {self.folder} name no image; restore them:\n"
        + notices.listed(empty)
      )
    uneven = [
      f"{name}: {', '.join(str(len(part)) for part in parts)}"
      for name in CLASSES
      for parts in [[self[name], self[f"{name}_ann"], self[f"{name}_neg"]]]
      if len({len(part) for part in parts}) > 1
    ]
    if uneven:
      raise UserError(
        f"the lists of {len(uneven)} classes in {self.folder} have different"
        " numbers of lines (images, boxes, healthy masks), of which each line"
        " must belong to that of the others; restore them:\n"
        + notices.listed(uneven)
      )


class Source:
  """The rows of the prepared folders.

  Args:
    folder: the source.
  """

  problems: Mapping[Path, str] = {}

  def __init__(self, folder: Path):
    self._folder = folder
    self._lists = Lists(folder / LISTS)

  @functools.cached_property
  def rows(self) -> Mapping[str, list[base.Row]]:
    """Rows of every split; of `LOCAL` one a box, class after class.

    Raises:
      UserError: lines name other folders, the lines of a class do not belong
        together, or an image is in two splits of normal images.
    """
    self._check_lines()
    rows = {
      split: [self._row(line, label) for line in self._lists[name]]
      for split, (name, label) in SLICES.items()
    }
    rows[LOCAL] = [
      self._row(line, 1, box, healthy, name)
      for name in CLASSES
      for line, box, healthy in self._boxes(name)
    ]
    return rows

  @property
  def left_out(self) -> Sequence[str]:
    """A sentence about IXI's lines."""
    if not self._lists.ixi:
      return ()
    return (f"lines of IXI, left to the set ixi: {self._lists.ixi}",)

  def _boxes(self, name: str) -> list[tuple[str, str, str]]:
    parts = [self._lists[name + ending] for ending in ("", "_ann", "_neg")]
    return list(zip(*parts, strict=True))

  def _row(
    self,
    line: str,
    label: int,
    box: str = "",
    healthy: str = "",
    kind: str = "",
  ) -> base.Row:
    known = {columns.PATIENT: Path(line).stem}
    if kind:
      known[columns.FINDING] = kind
    return base.Row(
      line,
      label,
      self._folder / line,
      self._folder / box if box else None,
      known,
      self._folder / healthy if healthy else None,
    )

  def _check_lines(self) -> None:
    wrong = []
    places = [(name, IMAGES) for name, _ in SLICES.values()]
    for name in CLASSES:
      places += [(name, IMAGES), (f"{name}_ann", BOXES)]
      places += [(f"{name}_neg", HEALTHY)]
    for name, folder in places:
      wrong += [
        f"{name}.csv: {line} is not in {folder}"
        for line in self._lists[name]
        if str(Path(line).parent) != folder
      ]
    for name in CLASSES:
      for line, box, healthy in self._boxes(name):
        stem = Path(line).stem
        if not Path(box).stem.startswith(f"{stem}_"):
          wrong.append(f"{name}_ann.csv: {box} is not of {line}")
        if Path(healthy).stem != stem:
          wrong.append(f"{name}_neg.csv: {healthy} is not of {line}")
    counts = Counter(
      line
      for name, label in SLICES.values()
      if not label
      for line in self._lists[name]
    )
    wrong += [f"{line}: twice normal" for line, n in counts.items() if n > 1]
    if wrong:
      raise UserError(
        f"{len(wrong)} lines of the lists in {self._lists.folder} are wrong;"
        " restore them:\n" + notices.listed(wrong)
      )


def _read(path: Path) -> list[str]:
  """The last folder and the file name of every line after the first."""
  try:
    text = path.read_bytes().decode("utf-8-sig")
    lines = csv.reader(io.StringIO(text, newline=""), quotechar="|")
    cells = [line[0].strip() for line in list(lines)[1:] if line]
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(f"{path} is not CSV ({error}); restore it.") from error
  # Paths of other machines, perhaps with their own separators.
  parts = [cell.replace("\\", "/").split("/")[-2:] for cell in cells if cell]
  return ["/".join(part) for part in parts]
