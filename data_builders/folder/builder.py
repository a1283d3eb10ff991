"""Your own images, sorted into folders."""

from collections.abc import Mapping
import functools

from data_builders import class_folders, column_table, leaks


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Images of one folder a class, in the order of their names.

  train/normal, test/normal and test/abnormal are needed. unlabelled/normal and
  unlabelled/abnormal are what DDAD's second ensemble learns from (the label is
  kept for the anomaly ratio, no method sees it). With test/masks, every image
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

  def columns_of(self, name: str) -> Mapping[str, str]:
    """What columns.csv says, and else the patient that the name states."""
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
