"""COVID-CT (Yang et al.), with the split of its authors."""

from collections.abc import Mapping
from pathlib import Path

from data_builders import base, image_list, name_list

_REMEDY = "--source must hold Data-split and Images-processed, unpacked"
_IMAGES, _LISTS = "Images-processed", "Data-split"
# Lists of each split, with the label of their images.
_PARTS = {
  "train": (("NonCOVID", "train", 0),),
  "unlabelled_normal": (("NonCOVID", "val", 0),),
  "unlabelled_abnormal": (("COVID", "train", 1), ("COVID", "val", 1)),
  "test": (("NonCOVID", "test", 0), ("COVID", "test", 1)),
}


class Builder(image_list.ImageListBuilder, skip_registration=True):
  """Axial chest CT slices from publications; abnormal means COVID-19.

  The repository's lists Data-split/*/*.txt, with the folders CT_COVID and
  CT_NonCOVID in Images-processed; or images/ and data.json. Training has the
  normal images of the training list, the other lists of the two classes are
  unlabeled. A name that a list has twice is read once: the test list of 98
  lines has 97 images. Slices of a patient are in one split, by the authors.
  """

  CITATION = (
    "Yang et al., COVID-CT-Dataset, arXiv:2003.13865 (2020); "
    "Zhang et al., MICCAI 2023 (one-class protocol)"
  )
  HOMEPAGE = "https://github.com/UCSD-AI4H/COVID-CT"
  COLUMNS = {"organ": "chest", "modality": "CT"}
  LICENSE = "none stated"
  SOURCE = (
    "the repository's folder with Data-split and the unpacked Images-processed,"
    " or a folder with images/ and data.json"
  )
  PUBLISHED = {
    "train": 234,
    "unlabelled_normal": 58,
    "unlabelled_abnormal": 251,
    "test": 105 + 98,
  }

  def find(self) -> Mapping[str, list[base.Row]]:
    """The lists of either layout, files not yet opened."""
    if not (self.source / _LISTS).is_dir():
      return super().find()
    lists = {
      (kind, part): name_list.read(self._path(kind, part), _REMEDY)
      for parts in _PARTS.values()
      for kind, part, _ in parts
    }
    for kind in ("NonCOVID", "COVID"):
      own = {k: names for k, names in lists.items() if k[0] == kind}
      name_list.check_apart([(self._path(*k), v) for k, v in own.items()])
    return {
      split: [
        base.Row(name, label, self.source / _IMAGES / f"CT_{kind}" / name)
        for kind, part, label in parts
        for name in lists[kind, part]
      ]
      for split, parts in _PARTS.items()
    }

  def _path(self, kind: str, part: str) -> Path:
    return self.source / _LISTS / kind / f"{part}CT_{kind}.txt"
