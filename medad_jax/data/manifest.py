"""Entries of images on disk: from folders, or from a CSV file with a list."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
import csv
import dataclasses
import io
from pathlib import Path

from medad_jax.data import columns, scans, volumes
from medad_jax.types import UserError

TRAIN, TEST, UNLABELLED = "train", "test", "unlabelled"
NOT_KNOWN = -1  # the label of an image that nobody has judged

_LABELS = {"0": 0, "normal": 0, "1": 1, "abnormal": 1, "": NOT_KNOWN}
_OWN = ("file", "label", "split", "mask")  # other columns are kept as texts
# Folders of the benchmarks, and words for them, that hold no normal images.
_ABNORMAL = frozenset(
  "abnormal anomalous anomaly anomalies positive ungood tumor tumour lesion"
  " lesions diseased pathological malignant".split()
)
_SHOWN = 8  # offenders that one sentence names


@dataclasses.dataclass(frozen=True)
class Entry:
  """A file and what is known of it.

  Attributes:
    path: of the file.
    split: "train", `unlabelled`, "test" or "test_NAME".
    label: 0 normal, 1 abnormal, -1 not known.
    mask: file of a picture that marks the abnormality; None for none.
    texts: columns by name, `columns.PATIENT` among them.
  """

  path: Path
  split: str = TRAIN
  label: int = 0
  mask: Path | None = None
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


def of_folders(normal: Path, unlabelled: Path | None) -> list[Entry]:
  """Entries of all images below folders.

  Args:
    normal: of normal images, which train.
    unlabelled: of images that nobody knows anything of; None for none.

  Raises:
    UserError: a folder has no images, or normal ones stand in folders that
      call them abnormal.
  """
  paths = scans.find(normal)
  _check_folders(normal, paths)
  found = [Entry(path) for path in paths]
  if unlabelled is not None:
    known = set(paths)
    found += [
      Entry(path, UNLABELLED, NOT_KNOWN)
      for path in scans.find(unlabelled)
      if path not in known
    ]
  return found


def read(path: Path) -> list[Entry]:
  """Entries of a CSV file with a header.

  "file" is needed, from the folder of the CSV file on. "label" is 0 or normal,
  1 or abnormal; "split" is train (where it is empty), `unlabelled`, test
  or test_NAME; "mask" is a picture whose marked pixels are not black. "patient"
  and every further column stay with the images as texts. Cells are separated by
  commas, semicolons or tabs.

  Raises:
    UserError: it cannot be read, or is no such list.
  """
  header, rows = _table(path)
  own = [name for name in header if name not in _OWN]
  columns.check(own, str(path))
  found, problems = [], []
  for number, row in rows:
    try:
      found.append(_entry(path.parent, dict(zip(header, row, strict=True))))
    except ValueError as error:
      problems.append(f"line {number}: {error}")
  if problems:
    raise UserError(f"{path} has {_listed(problems)}; mend these lines.")
  if not found:
    raise UserError(f"{path} lists no files; add a row for every image.")
  _check_rows(path, found)
  return found


def _check_folders(normal: Path, paths: Sequence[Path]) -> None:
  odd = sorted(
    {
      part
      for path in paths
      for part in path.relative_to(normal).parts[:-1]
      if part.lower() in _ABNORMAL
    }
  )
  if odd:
    raise UserError(
      f"{normal} should hold normal images alone, and has folders called"
      f" {', '.join(odd)}; give the folder of the normal ones, or list all"
      " images with their labels in a CSV file for data.manifest."
    )


def _table(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
  """The header, and rows with their line's number."""
  try:
    # With or without the mark that spreadsheets put first.
    text = path.read_text("utf-8-sig")
  except (OSError, UnicodeDecodeError) as error:
    reason = getattr(error, "strerror", None) or "it is not UTF-8"
    raise UserError(
      f"{path} cannot be read ({reason}); give a CSV file with the column file."
    ) from error
  first = text.partition("\n")[0]
  separator = max(",;\t", key=first.count)
  rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
  header = [_name(cell) for cell in next(rows, [])]
  if "file" not in header or len(set(header)) < len(header):
    raise UserError(
      f"{path} has the columns {', '.join(header) or 'none'}; name each once in"
      " the first line, and one of them file."
    )
  return header, ((rows.line_num, row) for row in rows if any(row))


def _name(cell: str) -> str:
  return "_".join(cell.lower().split())


def _entry(folder: Path, cells: dict[str, str]) -> Entry:
  """The entry of a row; raises ValueError with what is wrong in it."""
  cells = {name: text.strip() for name, text in cells.items()}
  if not cells["file"]:
    raise ValueError("no file")
  path, split = folder / cells.pop("file"), cells.pop("split", "") or TRAIN
  if split not in (TRAIN, UNLABELLED, TEST) and not split.startswith("test_"):
    raise ValueError(
      f"the split '{split}' (train, unlabelled, test and test_NAME are known)"
    )
  text = cells.pop("label", "").lower()
  if text not in _LABELS:
    raise ValueError(f"the label '{text}' (0, 1, normal, abnormal are known)")
  label = NOT_KNOWN if split == UNLABELLED else _LABELS[text]
  if split == TRAIN and label == NOT_KNOWN:
    label = 0  # what trains is normal, and need not say so
  if label == NOT_KNOWN and split != UNLABELLED:
    raise ValueError("no label, which test images need")
  mask = cells.pop("mask", "")
  if mask and volumes.is_volume(path):
    raise ValueError("a mask for a volume; list its slices as pictures")
  return Entry(path, split, label, folder / mask if mask else None, cells)


def _check_rows(path: Path, entries: Sequence[Entry]) -> None:
  """Raises UserError for files that are there twice, or cannot train."""
  counts = Counter(entry.path for entry in entries)
  twice = [path.name for path, count in counts.items() if count > 1]
  if twice:
    raise UserError(
      f"{path} lists {_listed(twice)} more than once; list every file once."
    )
  odd = [e for e in entries if e.split == TRAIN and e.label]
  if odd:
    raise UserError(
      f"{path} lists {len(odd)} abnormal images in the split train"
      f" ({_listed([e.path.name for e in odd])}), where normal ones alone are"
      " wanted; give them the split test, or unlabelled."
    )
  if not any(e.split == TRAIN for e in entries):
    raise UserError(
      f"{path} lists no image of the split train; add normal images for it."
    )


def _listed(texts: Sequence[str]) -> str:
  more = len(texts) - _SHOWN
  shown = ", ".join(texts[:_SHOWN])
  return f"{shown} and {more} more" if more > 0 else shown
