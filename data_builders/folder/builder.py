"""Your own images, sorted into folders."""

from collections.abc import Mapping
import functools
from pathlib import Path
import re
from typing import Any

from data_builders import class_folders, column_table, leaks, litter
from medad_jax.types import UserError

_SPLIT = re.compile(r"test_[a-z0-9_]+")


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Images of one folder a class, in the order of their names.

  train/normal, test/normal and test/abnormal are needed. unlabelled/normal and
  unlabelled/abnormal are what DDAD's second ensemble learns from (the label is
  kept for the anomaly ratio, no method sees it). Further test sets are folders
  like test_NAME/normal and test_NAME/abnormal. With test/masks, every image
  of test/abnormal has a mask of the same name there; what is not black is
  abnormal, or, with soft outlines, what has half the highest value. Files are
  PNG, JPEG, BMP or TIFF with 8 bits a channel, one page and no EXIF
  orientation. Hidden files and folders are skipped. A file columns.csv may say
  more of some images: their path in the column `name`, and `patient`, `organ`,
  `modality`, `group` or whatever else. Where it has no patient, a name such as
  patient12 in a path states one.
  """

  CITATION = "none: the images are the user's own"
  LICENSE = "that of the images' owner"
  SOURCE = "a folder with train/normal, test/normal, test/abnormal"
  FOLDERS = {
    "train": (("train/normal", 0),),
    "unlabelled_normal": (("unlabelled/normal", 0),),
    "unlabelled_abnormal": (("unlabelled/abnormal", 1),),
    "test": (("test/normal", 0), ("test/abnormal", 1)),
  }
  OPTIONAL = frozenset(
    {"unlabelled/normal", "unlabelled/abnormal", "test/masks"}
  )
  MASKS = "test/masks"

  def __init__(self, *, source: Path = Path(), **kwargs: Any):
    self.FOLDERS = {**self.FOLDERS, **_further_tests(source)}
    super().__init__(source=source, **kwargs)

  def columns_of(self, name: str) -> Mapping[str, str]:
    """Columns from columns.csv, or else the patient that the name states."""
    return {**leaks.patient_column(name), **self._table.get(name, {})}

  @functools.cached_property
  def _table(self) -> Mapping[str, Mapping[str, str]]:
    images = [
      path.relative_to(self.source).as_posix()
      for parts in self.FOLDERS.values()
      for folder, _ in parts
      for path in self._images(folder)
    ]
    return column_table.read(self.source, images)


def _further_tests(source: Path) -> dict[str, tuple[tuple[str, int], ...]]:
  """Folders of the test sets beside `test`, by split.

  Raises:
    UserError: a name cannot be a split's, or the set has masks: an image
      without one would count as marked nowhere.
  """
  names = sorted(
    path.name
    for path in source.glob("test_*")
    if path.is_dir() and not litter.is_litter(path.name)
  )
  if bad := [name for name in names if not _SPLIT.fullmatch(name)]:
    raise UserError(
      f"the folders {', '.join(bad[:8])} of {source} cannot name test sets; use"
      " lower-case letters, digits and underscores after test_."
    )
  if names and (source / "test/masks").is_dir():
    raise UserError(
      f"{source} has test/masks and further test sets ({', '.join(names[:8])}),"
      " which have no masks; build them as sets of their own."
    )
  return {n: ((f"{n}/normal", 0), (f"{n}/abnormal", 1)) for n in names}
