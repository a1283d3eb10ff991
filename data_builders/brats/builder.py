"""BraTS2021 (gliomas in FLAIR slices), as split by MedIAnomaly."""

from collections.abc import Mapping

from data_builders import class_folders, leaks, remote


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Axial brain MR slices with masks; abnormal means tumor.

  The mask of test/tumor/X_flair_Y is test/annotation/X_seg_Y; what is not
  black is tumor. Normal test images have an empty mask. Any set in this layout
  is read. Archive: Zenodo record 12677223.
  """

  CITATION = (
    "Baid et al., arXiv:2107.02314 (BraTS 2021); "
    "Cai et al., MedIAnomaly, arXiv:2404.04518"
  )
  HOMEPAGE = "https://zenodo.org/records/12677223"
  COLUMNS = {"organ": "brain", "modality": "MR"}
  LICENSE = "CC BY 4.0 (the archive on Zenodo)"
  SOURCE = "a folder with train, test/normal, test/tumor, test/annotation"
  MD5 = "237f2aee77e099f7483808ddec49a57c"
  BENCHMARK = "BraTS2021"
  REMOTE = (remote.zenodo("BraTS2021.tar.gz", MD5),)
  PUBLISHED = {"train": 4211, "test": 828 + 1948}
  FOLDERS = {
    "train": (("train", 0),),
    "test": (("test/normal", 0), ("test/tumor", 1)),
  }
  MASKS = "test/annotation"

  def mask_stem(self, stem: str) -> str:
    """The image's name with 'seg' for 'flair'."""
    return stem.replace("flair", "seg")

  def columns_of(self, name: str) -> Mapping[str, str]:
    """The patient that the name states."""
    return leaks.patient_column(name)
