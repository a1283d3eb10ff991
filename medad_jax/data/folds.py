"""Folds: parts of a set's training images, and a few anomalies, to choose by.

They are made once (`python -m data_builders.folds`) and lie beside the built
set. No test image is in any of them.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax import files
from medad_jax.data import one_class, spec, store
from medad_jax.types import UserError

TRAIN = "train"
_LISTS = ("train", "validation", "normal", "anomalies")
_REMEDY = "make it again with python -m data_builders.folds --overwrite"


@dataclasses.dataclass(frozen=True)
class Fold:
  """Rows of one fold.

  Attributes:
    train: of the split `train`, to train on.
    validation: of the same, to decide when to stop.
    normal: of the same, to be told apart from the anomalies.
    anomalies: of the split, or the files of the folder, that `Folds` names.
  """

  train: np.ndarray
  validation: np.ndarray
  normal: np.ndarray
  anomalies: np.ndarray


@dataclasses.dataclass(frozen=True)
class Folds:
  """The folds of a set.

  Attributes:
    name: of the set, with its normal class if it has one ("cifar10:3").
    digests: of the names in the splits whose rows are meant (`digest_of`).
    origin: how they were made, in words.
    source: the split of the anomalies, or a folder.
    files: names of the folder's images; empty where the source is a split.
    folds: in order.
  """

  name: str
  digests: Mapping[str, str]
  origin: str
  source: str
  files: tuple[str, ...]
  folds: tuple[Fold, ...]

  def check(self, names: Mapping[str, Sequence[str]]) -> None:
    """Checks that rows mean what they meant when the folds were made.

    Args:
      names: of the images of every split whose rows are used.

    Raises:
      UserError: a split has other images, or some in another order.
    """
    other = [k for k, v in names.items() if digest_of(v) != self.digests.get(k)]
    if other:
      raise UserError(
        f"the folds of {self.name} were made of other images in"
        f" {', '.join(other)}, as the set was built anew since; {_REMEDY}."
      )

  @property
  def splits(self) -> tuple[str, ...]:
    """The splits whose rows are used."""
    return (TRAIN,) if self.files else tuple({TRAIN: 0, self.source: 0})


def digest_of(names: Sequence[str]) -> str:
  """The sha256 of the names of a split's images, in order."""
  return hashlib.sha256("\n".join(names).encode()).hexdigest()


def path_of(root: Path, name: str) -> Path:
  """The file of a set's folds, beside its versions."""
  built, normal = one_class.parse(name)
  store.check_name(built)
  ending = "" if normal is None else f"_{normal}"
  return root / built / f"folds{ending}.json"


def write(path: Path, found: Folds) -> None:
  """Writes the folds.

  Raises:
    UserError: the file cannot be written.
  """
  tree = dataclasses.asdict(found)
  tree["folds"] = [
    {name: np.asarray(getattr(fold, name)).tolist() for name in _LISTS}
    for fold in found.folds
  ]
  # Without indents: thousands of rows would be as many lines.
  files.write(path, json.dumps(tree) + "\n")


def read(path: Path) -> Folds:
  """Reads folds.

  Raises:
    UserError: there are none, or the file is damaged.
  """
  if not path.is_file():
    raise UserError(
      f"there are no folds in {path}; make them with: python -m"
      " data_builders.folds NAME -n 3."
    )
  tree = files.read_json(path, _REMEDY)
  try:
    return _of_tree(tree)
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f"{path} is damaged (it lacks {error}, or that is of another kind);"
      f" {_REMEDY}."
    ) from error


def _of_tree(tree: Mapping[str, Any]) -> Folds:
  folds = tuple(
    Fold(**{name: np.array(one[name], np.int64) for name in _LISTS})
    for one in tree["folds"]
  )
  if any(not rows.size or rows.ndim != 1 for f in folds for rows in _rows(f)):
    raise ValueError("rows")
  if spec.is_test(tree["source"]):
    raise UserError(
      f"the folds of {tree['name']} take anomalies from {tree['source']}, and"
      f" what is chosen by test images cannot be tested by them; {_REMEDY}."
    )
  return Folds(
    str(tree["name"]),
    dict(tree["digests"]),
    str(tree["origin"]),
    os.fspath(tree["source"]),
    tuple(tree["files"]),
    folds,
  )


def _rows(fold: Fold) -> list[np.ndarray]:
  return [getattr(fold, name) for name in _LISTS]
