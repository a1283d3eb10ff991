"""OCT2017 (retinal layers), as split by MedIAnomaly's code."""

from collections.abc import Mapping

from data_builders import class_folders, leaks


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Optical coherence tomography; abnormal means CNV, DME or drusen.

  MedIAnomaly reads the set and publishes no result on it.
  """

  CITATION = (
    "Kermany et al., Cell 172 (2018) 1122; "
    "Cai et al., MedIAnomaly, arXiv:2404.04518"
  )
  HOMEPAGE = "https://data.mendeley.com/datasets/rscbjbr9sj"
  COLUMNS = {"organ": "retina", "modality": "OCT"}
  LICENSE = "CC BY 4.0"
  SOURCE = (
    "a folder with train/NORMAL, test/NORMAL, test/CNV, test/DME, test/DRUSEN"
  )
  FOLDERS = {
    "train": (("train/NORMAL", 0),),
    "test": (
      ("test/NORMAL", 0),
      ("test/CNV", 1),
      ("test/DME", 1),
      ("test/DRUSEN", 1),
    ),
  }

  def columns_of(self, name: str) -> Mapping[str, str]:
    """The patient that the name states."""
    return leaks.patient_column(name)
