"""The layout of DDAD-ASR and MedIAnomaly: a folder images/ and a data.json.

data.json (caiyu6666/DDAD-ASR) holds lists of file names under train.0 (known
normal), train.unlabeled.0, train.unlabeled.1, test.0 and test.1. The order of
the lists matters: training on unlabeled images takes prefixes of them.
MedIAnomaly's data.json may lack train.unlabeled, and has no such splits then.
"""

from collections import Counter
from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from data_builders import base, notices
from medad_jax.types import UserError

# Lists of each split, with the label of their images.
_LISTS = {
  "train": (("train.0", 0),),
  "unlabelled_normal": (("train.unlabeled.0", 0),),
  "unlabelled_abnormal": (("train.unlabeled.1", 1),),
  "test": (("test.0", 0), ("test.1", 1)),
}
_UNLABELLED = "train.unlabeled"


class ImageListBuilder(base.SetBuilder, skip_registration=True):
  """A set in the images/ + data.json layout.

  Args:
    split_file: the file of lists in the source folder.
    **kwargs: as every TFDS builder.
  """

  SOURCE = "a folder with images/ and data.json"

  def __init__(self, *, split_file: str = "data.json", **kwargs: Any):
    self._split_file = split_file
    super().__init__(**kwargs)

  def find(self) -> Mapping[str, list[base.Row]]:
    """The lists of the split file, files not yet opened."""
    lists = _read(self.source / self._split_file)
    images = self.source / "images"
    if not images.is_dir():
      raise UserError(
        f"{images} is not a folder; --source must be {self.SOURCE}."
      )
    return {
      split: [
        base.Row(name, label, images / name)
        for key, label in parts
        for name in lists.get(key, ())
      ]
      for split, parts in _LISTS.items()
    }


def _read(path: Path) -> dict[str, list[str]]:
  if not path.is_file():
    raise UserError(
      f"there is no {path.name} in {path.parent}; --source must be a folder"
      " with images/ and a split file (--split_file, else data.json)."
    )
  try:
    # Bytes, since json knows the encodings of a byte order mark.
    tree = json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path} is not JSON ({error}); restore it.") from error
  keys = [key for parts in _LISTS.values() for key, _ in parts]
  if not _get(tree, _UNLABELLED):
    keys = [key for key in keys if not key.startswith(_UNLABELLED)]
  lists = {key: _get(tree, key) for key in keys}
  _check(path, lists)
  return lists


def _get(tree: Any, key: str) -> Any:
  for part in key.split("."):
    tree = tree.get(part) if isinstance(tree, dict) else None
  return tree


def _check(path: Path, lists: Mapping[str, Any]) -> None:
  wrong = [
    key
    for key, names in lists.items()
    if not isinstance(names, list)
    or not all(isinstance(name, str) for name in names)
  ]
  if wrong:
    raise UserError(
      f"{path} has no list of file names under {', '.join(wrong)}; it must"
      f" have {', '.join(lists)}."
    )
  empty = [
    key
    for key, names in lists.items()
    if not names and not key.startswith(_UNLABELLED)
  ]
  if empty:
    raise UserError(
      f"{path} lists no images under {', '.join(empty)}; only"
      f" {_UNLABELLED} may be empty."
    )
  counts = Counter(name for names in lists.values() for name in names)
  twice = [name for name, count in counts.items() if count > 1]
  if twice:
    raise UserError(
      f"{path} lists {len(twice)} names more than once, so that the splits"
      " overlap; keep each in one place:\n" + notices.listed(twice)
    )
  base.check_inside(counts, path)
