"""ISIC 2018 Task 3 (dermatoscopy), as split by MedIAnomaly."""

from collections import Counter
from collections.abc import Mapping
import csv
import io
from pathlib import Path

from data_builders import base, notices
from medad_jax.types import UserError

_NORMAL = "NV"  # melanocytic nevus
_COLUMNS = ("image", _NORMAL)
_PARTS = ("Training", "Test")  # the challenge's Validation is not used


class Builder(base.SetBuilder, skip_registration=True):
  """Skin lesions; abnormal means anything but a melanocytic nevus.

  Training images are the nevi of the challenge's Training part, test images
  all of its Test part, nevi first. MedIAnomaly reads these color photographs
  as gray images; config.data.channels=3 keeps the color.
  """

  CITATION = (
    "Codella et al., arXiv:1902.03368; "
    "Tschandl et al., Scientific Data 5 (2018) 180161; "
    "Cai et al., MedIAnomaly, arXiv:2404.04518"
  )
  HOMEPAGE = "https://challenge.isic-archive.com/data/#2018"
  COLUMNS = {"organ": "skin", "modality": "dermatoscopy"}
  LICENSE = "CC BY-NC 4.0"
  BENCHMARK = "ISIC2018_Task3"
  SOURCE = (
    "a folder with ISIC2018_Task3_{Training,Test}_Input and"
    " ISIC2018_Task3_{Training,Test}_GroundTruth"
  )
  PUBLISHED = {"train": 6705, "test": 909 + 603}

  def find(self) -> Mapping[str, list[base.Row]]:
    """The images that the tables of labels name, files not yet opened."""
    tables = {part: _read(_table(self.source, part)) for part in _PARTS}
    _check_names(self.source, tables)
    training, test = (
      [
        base.Row(
          f"{name}.jpg", label, _images(self.source, part) / f"{name}.jpg"
        )
        for name, label in tables[part]
      ]
      for part in _PARTS
    )
    return {
      "train": [row for row in training if not row.label],
      "test": sorted(test, key=lambda row: row.label),  # stable
    }


def _images(source: Path, part: str) -> Path:
  return source / f"ISIC2018_Task3_{part}_Input"


def _table(source: Path, part: str) -> Path:
  name = f"ISIC2018_Task3_{part}_GroundTruth"
  return source / name / f"{name}.csv"


def _read(path: Path) -> list[tuple[str, int]]:
  """Names and labels of a table, in its order."""
  if not path.is_file():
    raise UserError(f"there is no {path}; --source must be {Builder.SOURCE}.")
  try:
    text = path.read_bytes().decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text, newline=""))
    columns, entries = table.fieldnames or (), list(table)
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(f"{path} is not CSV ({error}); restore it.") from error
  lacks = [c for c in _COLUMNS if c not in columns]
  if lacks:
    raise UserError(
      f"{path} has no column {', '.join(lacks)}; it must have"
      f" {', '.join(_COLUMNS)}: restore it."
    )
  rows = [(row["image"], row[_NORMAL]) for row in entries]
  wrong = [
    f"{name}: {value}" for name, value in rows if _number(value) not in (0, 1)
  ]
  if wrong:
    raise UserError(
      f"{path} has values other than 0 and 1 under {_NORMAL}; restore it:\n"
      + notices.listed(wrong)
    )
  base.check_inside((name or "" for name, _ in rows), path)
  return [(name, 1 - int(float(value))) for name, value in rows]


def _number(value: str | None) -> float | None:
  try:
    return float(value or "")
  except ValueError:
    return None


def _check_names(
  source: Path, tables: Mapping[str, list[tuple[str, int]]]
) -> None:
  counts = Counter(name for table in tables.values() for name, _ in table)
  twice = [name for name, count in counts.items() if count > 1]
  if twice:
    raise UserError(
      f"the tables of labels in {source} list {len(twice)} images more than"
      " once; keep each in one place:\n" + notices.listed(twice)
    )
  labels = {
    "nevi in the Training table": (tables["Training"], 0),
    "nevi in the Test table": (tables["Test"], 0),
    "other lesions in the Test table": (tables["Test"], 1),
  }
  empty = [
    what
    for what, (table, label) in labels.items()
    if not any(found == label for _, found in table)
  ]
  if empty:
    raise UserError(f"there are no {' and no '.join(empty)} of {source}.")
