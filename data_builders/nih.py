"""The common part of the builders of NIH ChestX-ray14."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from data_builders import base, dpa_lists, folders, notices
from medad_jax.types import UserError

_FINDING = "Infiltration"  # the only finding of the few anomalies of folds


class NihBuilder(base.SetBuilder, skip_registration=True):
  """Chest radiographs in the split of Shvetsova et al. (IEEE Access 2021).

  Normal means "No Finding". The abnormal images of the published folds are
  unlabeled ones here, which no training sees unless it asks for them. Files
  keep their size: the published 300x300 pixels are the step `resize:300` of
  config.data.preparation.

  Attributes:
    NAME: of the published lists, in `dpa_lists.SETS`.
  """

  NAME: ClassVar[str]
  CITATION = (
    "Wang et al., ChestX-ray8, CVPR 2017; "
    "Shvetsova et al., IEEE Access 2021 (split)"
  )
  HOMEPAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
  COLUMNS = {"organ": "chest", "modality": "X-ray"}
  LICENSE = "free to use with a citation, as the NIH Clinical Center states"
  SOURCE = (
    "the folder of the PNG files, in images_001/images or any other below"
  )

  def find(self) -> Mapping[str, Sequence[base.Row]]:
    """The images of the published lists."""
    lists = dpa_lists.split(self.NAME)
    files = {path.name: path for path in folders.read(self.source).images}
    absent = sorted({name for part in lists for name in part} - files.keys())
    if absent:
      raise UserError(
        f"{len(absent):,} images of the published lists are not in"
        f" {self.source}; unpack all archives there:\n" + notices.listed(absent)
      )

    def rows(names: Sequence[str], label: int, **more: str) -> list[base.Row]:
      return [
        base.Row(
          name,
          label,
          files[name],
          # Names are PATIENT_STUDY.png.
          columns={"patient": name.partition("_")[0], **more},
        )
        for name in names
      ]

    return {
      "train": rows(lists.train, 0),
      "unlabelled_abnormal": rows(lists.few, 1, finding=_FINDING),
      "test": [*rows(lists.normal, 0), *rows(lists.abnormal, 1)],
    }
