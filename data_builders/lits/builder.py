"""LiTS (Bilic et al.): slices of liver CT, as split by MADDR."""

from collections.abc import Iterator, Mapping, Sequence
import io
from pathlib import Path
import re
from typing import Any

import numpy as np
from PIL import Image

from data_builders import base, name_list, notices
from medad_jax.data import nifti
from medad_jax.types import UserError

_NAME = re.compile(r"volume-(\d+)_(\d+)\.png")
_WINDOW = (-200.0, 250.0)  # Hounsfield units that are black and white
_LIVER, _TUMOR = 1, 2  # in the segmentations
_LEAST = 1000  # pixels of liver in a normal test slice of 512x512
_REMEDY = (
  "put MADDR's list folds/train_test_split/normal/train of"
  " github.com/lianjizhe/MADDR_code there, or name another with --split_file"
)


class Builder(base.SetBuilder, skip_registration=True):
  """Axial abdominal CT slices with masks; abnormal means a liver tumor.

  Training slices are those that a list names as volume-V_SLICE.png: MADDR's,
  of whose three sets the lines of this one are read. Its test lists and its
  window were never released. The test set is a reconstruction: of volumes
  without a listed slice, those slices that show a tumor, and those without one
  that show at least 1000 pixels of liver (of 512x512). Levels are -200 to 250
  Hounsfield units, axes as stored: rows are the volume's second axis.

  Args:
    split_file: the list in the source folder.
    **kwargs: as every TFDS builder.
  """

  CITATION = (
    "Bilic et al., Medical Image Analysis 84 (2023) 102680; "
    "Zhang et al., MICCAI 2023 (split)"
  )
  HOMEPAGE = "https://competitions.codalab.org/competitions/17094"
  COLUMNS = {"organ": "liver", "modality": "CT"}
  LICENSE = "CC BY-NC-ND 4.0"
  SOURCE = "a folder with volume-V.nii and segmentation-V.nii (or .nii.gz)"
  PUBLISHED = {"train": 186}

  def __init__(self, *, split_file: str = "train", **kwargs: Any):
    self._split_file = split_file
    self._found: Mapping[str, list[base.Row]] | None = None
    super().__init__(**kwargs)

  def find(self) -> Mapping[str, list[base.Row]]:
    """Listed slices to train on; of all other volumes, those of the rule."""
    # Reading all masks takes long, and `base` asks several times.
    if self._found is None:
      self._found = self._find()
    return self._found

  def has_masks(self) -> bool:
    """Every slice has a mask of its tumors."""
    return True

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """Slices and masks of rows, volume after volume as far as rows are."""
    files, open_ = self._files(), None
    for row in rows:
      volume, at = _place(row.name)
      if open_ is None or open_[0] != volume:
        image, mask = (nifti.read(path) for path in files[volume])
        open_ = volume, image, mask
      yield _png(_levels(open_[1][..., at])), _png(_tumor(open_[2][..., at]))

  def _find(self):
    files = self._files()
    path = self.source / self._split_file
    names = [n for n in name_list.read(path, _REMEDY) if _NAME.fullmatch(n)]
    self._check_list(path, names, files)
    listed = {_place(name)[0] for name in names}
    normal, ill = [], []
    for volume in sorted(files.keys() - listed):
      mask = nifti.read(files[volume][1])
      tumor = np.any(mask == _TUMOR, (0, 1))
      liver = np.sum(mask >= _LIVER, (0, 1)) >= self._least(mask.shape)
      for kind, found in ((ill, tumor), (normal, liver & ~tumor)):
        kind += [f"volume-{volume}_{at}.png" for at in np.flatnonzero(found)]
    return {
      "train": [self._row(name, 0) for name in names],
      "test": [self._row(name, 0) for name in normal]
      + [self._row(name, 1) for name in ill],
    }

  def _row(self, name, label):
    return base.Row(name, label, columns={"patient": name.partition("_")[0]})

  def _least(self, shape):
    return _LEAST * shape[0] * shape[1] / 512**2

  def _files(self) -> dict[int, tuple[Path, Path]]:
    """Volume and segmentation by number.

    Raises:
      UserError: there are none, or some do not fit.
    """
    found: dict[str, dict[int, Path]] = {"volume": {}, "segmentation": {}}
    for path in sorted(self.source.rglob("*.nii*")):
      match = re.fullmatch(
        r"(volume|segmentation)-(\d+)\.nii(\.gz)?", path.name
      )
      if match:
        found[match[1]][int(match[2])] = path
    volumes, masks = found["volume"], found["segmentation"]
    if not volumes:
      raise UserError(
        f"there is no volume-V.nii in {self.source}; --source must be"
        f" {self.SOURCE}."
      )
    wrong = [
      f"{path.name}: {reason}"
      for number, path in volumes.items()
      if (reason := _misfit(path, masks.get(number)))
    ]
    if wrong:
      raise UserError(
        f"{len(wrong)} of {len(volumes)} volumes in {self.source} have no"
        " segmentation that fits; restore or remove them:\n"
        + notices.listed(wrong)
      )
    return {number: (volumes[number], masks[number]) for number in volumes}

  def _check_list(self, path, names, files):
    absent = [
      name
      for name in names
      if _place(name)[0] not in files
      or _place(name)[1]
      >= nifti.read_header(files[_place(name)[0]][0]).shape[2]
    ]
    if absent:
      raise UserError(
        f"{path} names {len(absent)} slices of volumes that are not in"
        f" {self.source}, or that are shorter; complete the source:\n"
        + notices.listed(absent)
      )
    if not names:
      raise UserError(f"{path} names no slice of this set; {_REMEDY}.")


def _place(name: str) -> tuple[int, int]:
  """Volume and slice of a name."""
  match = _NAME.fullmatch(name)
  assert match is not None, name
  return int(match[1]), int(match[2])


def _misfit(volume: Path, mask: Path | None) -> str | None:
  if mask is None:
    return "no segmentation"
  sides, others = (nifti.read_header(path).shape for path in (volume, mask))
  if sides != others:
    return f"{sides}, and its segmentation is {others}"
  return None


def _levels(part):
  low, high = _WINDOW
  share = (part.astype(np.float32) - low) / (high - low)
  return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def _tumor(part):
  return np.where(part == _TUMOR, np.uint8(255), np.uint8(0))


def _png(part) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(part.T).save(buffer, "PNG")
  return buffer.getvalue()
