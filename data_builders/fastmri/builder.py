"""fastMRI brains with the fastMRI+ annotations, as selected by RA."""

from collections.abc import Iterable, Mapping, Sequence
import functools
from pathlib import Path

from data_builders import base, fastmri_h5, fastmri_lists
from medad_jax.types import UserError


class Builder(base.SetBuilder, skip_registration=True):
  """Axial T1-weighted brain slices; abnormal means a finding or an artifact.

  The source either has the folders that RA (Bercea et al., MIDL 2023) prepared,
  brain_mid_png, brain_mid_anno_pos_png and brain_mid_anno_neg_png, with the
  lists of its project in splits; or raw files, *.h5, with brain.csv of
  fastMRI+, and splits may be absent.

  `test` has normal slices only. Further test sets are `pathology` and
  `artifact`, labeled as a whole, and `local`: one row for each box around a
  finding, with the box as its mask, its class, and the healthy pixels of the
  slice. IXI's slices, on which RA trains, too, are a set of their own.
  """

  CITATION = (
    "Zbontar et al., arXiv:1811.08839 (fastMRI); "
    "Zhao et al., Scientific Data 9 (2022) 152 (fastMRI+); "
    "Bercea et al., MIDL 2023 (RA: the selection)"
  )
  HOMEPAGE = "https://fastmri.med.nyu.edu"
  COLUMNS = {"organ": "brain", "modality": "MR"}
  LICENSE = "fastMRI data set agreement: no sharing; fastMRI+: CC BY 4.0"
  SOURCE = (
    "a folder with brain_mid_png, brain_mid_anno_pos_png,"
    " brain_mid_anno_neg_png and splits, or one with *.h5 and brain.csv"
  )
  PUBLISHED = {
    "train": 130,
    "val": 15,
    "test": 30,
    "test_pathology": 27,
    "test_artifact": 23,
    "test_local": 187,
  }

  def find(self) -> Mapping[str, Sequence[base.Row]]:
    """The rows that the lists, or the annotations, name."""
    return self._source.rows

  def misfits(self) -> Mapping[Path, str]:
    """Raw files that cannot be used."""
    return self._source.problems

  def left_out(self) -> Sequence[str]:
    """Sentences about lines and files that are not read."""
    return self._source.left_out

  def has_masks(self) -> bool:
    """Rows of `test_local` have a box; other rows have an empty mask."""
    return True

  def has_healthy(self) -> bool:
    """Rows of `test_local` mark healthy pixels; other rows mark none."""
    return True

  def encode(self, rows: Sequence[base.Row]) -> Iterable[base.Encoded]:
    """The files' bytes, or slices and boxes of raw files."""
    if isinstance(self._source, fastmri_h5.Source):
      return self._source.encode(rows)
    return super().encode(rows)

  def encode_healthy(self, row: base.Row, image: bytes) -> bytes:
    """The file's mark, or the head of a raw slice without its boxes."""
    if isinstance(self._source, fastmri_h5.Source):
      return self._source.encode_healthy(row, image)
    return super().encode_healthy(row, image)

  @functools.cached_property
  def _source(self) -> fastmri_lists.Source | fastmri_h5.Source:
    if (self.source / fastmri_lists.IMAGES).is_dir():
      return fastmri_lists.Source(self.source)
    if any(self.source.glob("*.h5")):
      return fastmri_h5.Source(self.source)
    raise UserError(
      f"there are neither {fastmri_lists.IMAGES} nor *.h5 in {self.source};"
      f" --source must be {self.SOURCE}."
    )
