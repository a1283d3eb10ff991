"""Chest X-rays of Shenzhen (Jaeger et al.), as split by MADDR."""

from collections.abc import Mapping
from typing import Any

from data_builders import base, folders, name_list, notices
from medad_jax.types import UserError

_PREFIX = "CHNCXR_"
_NORMAL, _ABNORMAL = "_0", "_1"  # how the names of the two classes end
_REMEDY = (
  "put MADDR's list folds/train_test_split/normal/train of"
  " github.com/lianjizhe/MADDR_code there, or name another with --split_file"
)


class Builder(base.SetBuilder, skip_registration=True):
  """Chest radiographs; abnormal means tuberculosis.

  Training images are those that a list names: MADDR's, of whose three sets
  the lines of this one are read. Its test lists were never released. The test
  set is a reconstruction: all normal images that are not listed (98 with that
  list) and all images of tuberculosis (336).

  Args:
    split_file: the list in the source folder.
    **kwargs: as every TFDS builder.
  """

  CITATION = (
    "Jaeger et al., Quantitative Imaging in Medicine and Surgery 4 (2014); "
    "Zhang et al., MICCAI 2023 (split)"
  )
  HOMEPAGE = (
    "https://www.kaggle.com/datasets/raddar/tuberculosis-chest-xrays-shenzhen"
  )
  COLUMNS = {"organ": "chest", "modality": "X-ray"}
  LICENSE = "public domain, as the National Library of Medicine states"
  SOURCE = f"a folder with {_PREFIX}NNNN_0.png and _1.png in it or below it"
  PUBLISHED = {"train": 228, "test": 98 + 336}

  def __init__(self, *, split_file: str = "train", **kwargs: Any):
    self._split_file = split_file
    super().__init__(**kwargs)

  def find(self) -> Mapping[str, list[base.Row]]:
    """Listed images to train on, all others to test with."""
    images = {
      path.name: path
      for path in sorted(self.source.rglob(f"{_PREFIX}*"))
      if path.suffix.lower() in folders.SUFFIXES
    }
    path = self.source / self._split_file
    listed = [
      name for name in name_list.read(path, _REMEDY) if name.startswith(_PREFIX)
    ]
    self._check_list(listed, images)
    known = set(listed)
    normal = [
      name
      for name, path in images.items()
      if path.stem.endswith(_NORMAL) and name not in known
    ]
    ill = [n for n, path in images.items() if path.stem.endswith(_ABNORMAL)]

    def row(name, label):
      return base.Row(name, label, images[name])

    return {
      "train": [row(name, 0) for name in listed],
      "test": [row(name, 0) for name in normal]
      + [row(name, 1) for name in ill],
    }

  def _check_list(self, listed, images):
    path = self.source / self._split_file
    absent = [name for name in listed if name not in images]
    ill = [
      name for name in listed if name.rpartition(".")[0].endswith(_ABNORMAL)
    ]
    if absent:
      raise UserError(
        f"{path} names {len(absent)} images that are not in {self.source};"
        " complete the source:\n" + notices.listed(absent)
      )
    if ill or not listed:
      raise UserError(
        f"{path} names {len(listed)} images of this set, {len(ill)} of them"
        f" with tuberculosis; {_REMEDY}."
      )
