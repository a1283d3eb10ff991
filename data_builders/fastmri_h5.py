"""Raw files of fastMRI, *.h5, with the boxes and labels of fastMRI+."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float, UInt8
import numpy as np
from scipy import ndimage

from data_builders import base, fastmri_lists, fastmri_plus, pictures
from data_builders.fastmri_lists import CLASSES, LOCAL, SLICES
from data_builders.fastmri_plus import Box, choose, class_of
from medad_jax.data import columns
from medad_jax.types import UserError

KEY = "reconstruction_rss"

_NORMAL = frozenset({"normal for age", "normal variant"})
_MOTION = "motion artifact"
_ARTEFACTS = "artefacts"
_TOP = 95  # percentile of the slice that becomes white
_HEAD = 0.15  # of the range: what is brighter is head
# Of normal subjects, where there are no lists; the others are tested.
_SHARES = {"train": 0.75, "val": 0.085}


@dataclasses.dataclass(frozen=True)
class Plan:
  """The content of one row.

  Attributes:
    file: the raw file.
    slice: number of its slice.
    box: the box of a row of `LOCAL`.
    boxes: all boxes of the slice.
  """

  file: Path
  slice: int
  box: Box | None = None
  boxes: tuple[Box, ...] = ()


class Source:
  """The rows of raw files.

  With RA's lists in the folder splits, subjects and boxes are theirs. Without,
  subjects are what fastMRI+ labels them as, a hash divides the normal ones, and
  all boxes of the chosen slices count.

  Args:
    folder: the source.
  """

  def __init__(self, folder: Path):
    self._folder = folder
    self._boxes, self._labels = fastmri_plus.read(folder / fastmri_plus.NAME)

  @functools.cached_property
  def rows(self) -> Mapping[str, list[base.Row]]:
    """Rows of every split, in the order of lists or of file names."""
    return {
      split: [
        base.Row(name, _label(split), columns=_known(name, plan))
        for name, plan in plans.items()
      ]
      for split, plans in self._plans.items()
    }

  @functools.cached_property
  def problems(self) -> Mapping[Path, str]:
    """Raw files that are missing, without what is read, or with bad boxes."""
    plans = defaultdict(list)
    for part in self._plans.values():
      for plan in part.values():
        plans[plan.file].append(plan)
    found = {path: _problem(path, part) for path, part in plans.items()}
    return {path: reason for path, reason in found.items() if reason}

  @property
  def left_out(self) -> Sequence[str]:
    """A count of raw files of other series or without annotations."""
    used = {p.file for part in self._plans.values() for p in part.values()}
    others = [p for p in self._folder.glob("*.h5") if p not in used]
    return (f"files *.h5 left out: {len(others)}",) if others else ()

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """Slices and boxes as PNG files."""
    for row in rows:
      plan = self._plan(row)
      pixels = _pixels(plan)
      marks = np.zeros(pixels.shape, bool)
      if plan.box is not None:
        marks = plan.box.marks(pixels.shape)
      yield pictures.encoded(pixels), _white(marks)

  def encode_healthy(self, row: base.Row, image: bytes) -> bytes:
    """The head without all boxes of the slice, as a PNG file."""
    plan = self._plan(row)
    if plan.box is None:
      return pictures.black(image)
    pixels = _pixels(plan)
    healthy = head(pixels / 255)
    for box in plan.boxes:
      healthy &= ~box.marks(pixels.shape)
    return _white(healthy)

  def _plan(self, row: base.Row) -> Plan:
    return next(
      part[row.name] for part in self._plans.values() if row.name in part
    )

  @functools.cached_property
  def _plans(self) -> dict[str, dict[str, Plan]]:
    """Plans of all rows, by split and the row's name."""
    if (self._folder / fastmri_lists.LISTS).is_dir():
      subjects, wanted = _from_lists(self._folder / fastmri_lists.LISTS)
    else:
      subjects, wanted = self._from_labels()
    found = {
      split: {
        f"{split}/{name}": Plan(self._file(name), self._slice(name))
        for name in names
      }
      for split, names in subjects.items()
    }
    found[LOCAL] = {}
    for name, labels in wanted.items():
      found[LOCAL] |= self._local(name, labels)
    return found

  def _local(self, name: str, labels: Counter | None) -> dict[str, Plan]:
    chosen = choose(self._boxes[name], labels)
    boxes = tuple(box for box in self._boxes[name] if box.slice == chosen)
    counted = Counter()
    found = {}
    for box in sorted(boxes, key=lambda box: box.label):
      kind = class_of(box.label)
      if kind is None:
        continue
      key = f"{LOCAL}/{name}_{box.label}_{counted[box.label]}"
      counted[box.label] += 1
      found[key] = Plan(self._file(name), chosen, box, boxes)
    return found

  def _from_labels(self) -> tuple[dict[str, list[str]], dict[str, None]]:
    subjects = sorted({*self._boxes, *self._labels})
    normal = [n for n in subjects if self._labels[n] & _NORMAL]
    free = [n for n in normal if not self._boxes[n]]
    found = _divided(free)
    found["test_pathology"] = [
      n for n in subjects if self._labels[n] - _NORMAL - {_MOTION}
    ]
    found["test_artifact"] = [
      n
      for n in subjects
      if _MOTION in self._labels[n]
      or any(class_of(b.label) == _ARTEFACTS for b in self._boxes[n])
    ]
    local = [
      n for n in subjects if any(class_of(b.label) for b in self._boxes[n])
    ]
    empty = [
      name for name, part in [*found.items(), (LOCAL, local)] if not part
    ]
    if empty:
      raise UserError(
        f"{self._folder / fastmri_plus.NAME} has no subject for"
        f" {', '.join(empty)}; restore it."
      )
    return found, dict.fromkeys(local)

  def _slice(self, name: str) -> int:
    return choose(self._boxes[name], None)

  def _file(self, name: str) -> Path:
    return self._folder / f"{name}.h5"


def head(image: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
  """The filled outline of the head in a slice of gray values in [0, 1]."""
  named, count = ndimage.label(image > _HEAD)
  if not count:
    return np.zeros(image.shape, bool)
  largest = 1 + np.argmax(np.bincount(named.ravel())[1:])
  return ndimage.binary_fill_holes(named == largest)


def _from_lists(
  folder: Path,
) -> tuple[dict[str, list[str]], dict[str, Counter]]:
  """Subjects of each split, and the labels of the boxes of each."""
  lists = fastmri_lists.Lists(folder)
  subjects = {
    split: [Path(line).stem for line in lists[name]]
    for split, (name, _) in SLICES.items()
  }
  wanted: dict[str, Counter] = defaultdict(Counter)
  for name in CLASSES:
    lines = zip(lists[name], lists[f"{name}_ann"], strict=True)
    for line, box in lines:
      stem = Path(line).stem
      # FILE_LABEL_NUMBER
      label = Path(box).stem.removeprefix(f"{stem}_").rpartition("_")[0]
      wanted[stem][label.casefold()] += 1
  return subjects, wanted


def _divided(names: Sequence[str]) -> dict[str, list[str]]:
  """Normal subjects by split, by a hash of their names."""
  order = sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())
  train = round(_SHARES["train"] * len(order))
  val = train + max(1, round(_SHARES["val"] * len(order)))
  parts = {"train": order[:train], "val": order[train:val], "test": order[val:]}
  return {split: sorted(part) for split, part in parts.items()}


def _problem(path: Path, plans: Sequence[Plan]) -> str | None:
  if not path.is_file():
    return "missing"
  try:
    with _opened(path) as file:
      if KEY not in file:
        return f"no '{KEY}' in it, but {', '.join(sorted(file)) or 'nothing'}"
      shape = file[KEY].shape
  except UserError:
    raise
  # h5py raises nearly anything on a damaged file.
  except Exception as error:
    return f"not an HDF5 file ({' '.join(str(error).split())[:120]})"
  if len(shape) != 3:
    return f"'{KEY}' has {len(shape)} dimensions, not 3"
  if late := sorted({p.slice for p in plans if not 0 <= p.slice < shape[0]}):
    return f"{shape[0]} slices, without slice {', '.join(map(str, late))}"
  outside = [
    f"{box.label} {box.x},{box.y},{box.width},{box.height}"
    for box in dict.fromkeys(box for plan in plans for box in plan.boxes)
    if not box.is_inside(shape[1:])
  ]
  if outside:
    size = f"{shape[2]}x{shape[1]}"
    more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
    return (
      f"boxes outside of {size} pixels, or without a pixel:"
      f" {'; '.join(outside[:3])}{more}"
    )
  return None


@functools.lru_cache(8)  # the rows of a slice follow one another
def _read(path: Path, number: int) -> UInt8[np.ndarray, "h w"]:
  with _opened(path) as file:
    pixels = np.asarray(file[KEY][number], np.float32)
  # The boxes of fastMRI+ are drawn on slices that are turned upside down.
  pixels = pixels[::-1]
  top = max(float(np.percentile(pixels, _TOP)), 1e-12)
  return np.rint(255 * np.clip(pixels / top, 0, 1)).astype(np.uint8)


def _pixels(plan: Plan) -> UInt8[np.ndarray, "h w"]:
  return _read(plan.file, plan.slice)


def _opened(path: Path) -> Any:
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      f"{path.name} is an HDF5 file, and h5py, which reads it, is not"
      " installed; run pip install 'medad-jax[mri]'."
    ) from error
  return h5py.File(path, "r")


def _white(marks: Bool[np.ndarray, "h w"]) -> bytes:
  return pictures.encoded(np.where(marks, np.uint8(255), np.uint8(0)))


def _label(split: str) -> int:
  return SLICES[split][1] if split in SLICES else 1


def _known(name: str, plan: Plan) -> dict[str, str]:
  known = {columns.PATIENT: plan.file.stem}
  if plan.box is not None:
    known[columns.FINDING] = class_of(plan.box.label) or ""
  return known
