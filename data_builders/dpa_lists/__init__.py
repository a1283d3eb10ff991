"""Published lists and folds of Shvetsova et al. (IEEE Access 2021).

NOTICE names their origin and license. Folds of CIFAR-10 and SVHN are rows of
the official train splits; all other lists are names of files.
"""

import csv
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

_FOLDER = Path(__file__).parent
FOLDS = 3
CLASSES = ("cifar10", "svhn")  # one-class sets, with folds for each class
# Folders of the other sets.
_PATHS = {
  "camelyon16": "camelyon16/healthy",
  "nih_ap": "nih/AP",
  "nih_pa": "nih/PA",
  "nih_subset": "nih/subset",
}
SETS = (*CLASSES, *_PATHS)


class Lists(NamedTuple):
  """One published fold: rows of the train split, or names of files."""

  train: list
  validation: list
  normal: list
  anomalies: list


def lines(path: str) -> list[str]:
  """The entries of a text list, such as "train_test_split/nih/AP/normal/test".

  Raises:
    FileNotFoundError: there is no such list.
  """
  with gzip.open(_FOLDER / f"{path}.txt.gz", "rt", encoding="utf-8") as file:
    return file.read().splitlines()


class Split(NamedTuple):
  """The published split of a set, and anomalies that folds may hold: names."""

  train: list[str]
  normal: list[str]
  abnormal: list[str]
  few: list[str]


def split(name: str) -> Split:
  """The published split of one of `SETS` that has no classes."""
  folder = f"train_test_split/{_PATHS[name]}"
  parts = ("normal/train", "normal/test", "anomaly/test")
  found = [lines(f"{folder}/{part}") for part in parts]
  if name == "camelyon16":  # of which its folds take some
    return Split(*found, lines(f"{folder}/anomaly/train"))
  folds = (fold(name, None, number) for number in range(FOLDS))
  # Folds share their anomalies; each is named once.
  few = dict.fromkeys(text for one in folds for text in one.anomalies)
  return Split(*found, list(few))


def fold(name: str, normal: str | None, number: int) -> Lists:
  """A fold of a set, of `SETS`.

  Args:
    name: of the set.
    normal: the normal class, of those that have classes.
    number: of the fold, 0 to 2.
  """
  if name in CLASSES:
    with np.load(_FOLDER / "folds" / f"{name}.npz") as stored:
      parts = ("train", "val", "test_normal", "test_anomaly")
      rows = [stored[f"{normal}/{number}/{part}"].tolist() for part in parts]
    return Lists(*rows)
  folder = f"folds/{_PATHS[name]}/{number}"
  parts = ("normal/train", "normal/val", "normal/test", "anomaly/test")
  return Lists(*(lines(f"{folder}/{part}") for part in parts))


def anomalies(name: str, normal: str | None) -> str:
  """The few anomalies, as `data_builders.folds --anomalies` reads them."""
  if name in CLASSES:
    with (_FOLDER / "validation_classes" / f"{name}.csv").open() as file:
      table = {row["class"]: row["valid_class"] for row in csv.DictReader(file)}
    return f"class={table[str(normal)]}"
  column = "slide" if name == "camelyon16" else "finding"
  file = "camelyon16" if name == "camelyon16" else "nih"
  path = _FOLDER / "validation_classes" / f"{file}.csv"
  texts = path.read_text().split()[2:]  # the header has two words
  return f"{column}={','.join(dict.fromkeys(texts))}"
