"""CP-CHILD-A (colonoscopy of children), as split by MedIAnomaly's code."""

from data_builders import class_folders


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Colonoscopy images; abnormal means a polyp.

  MedIAnomaly reads the set, as gray images, and publishes no result on it.
  """

  CITATION = (
    "Wang et al., BMC Medical Imaging 20 (2020) 83; "
    "Cai et al., MedIAnomaly, arXiv:2404.04518"
  )
  HOMEPAGE = "https://figshare.com/articles/dataset/12554042"
  COLUMNS = {"organ": "colon", "modality": "endoscopy"}
  LICENSE = "as its homepage says"
  SOURCE = (
    "the folder CP-CHILD-A with Train/Non-Polyp, Test/Non-Polyp, Test/Polyp"
  )
  BENCHMARK = "CP-CHILD/CP-CHILD-A"
  FOLDERS = {
    "train": (("Train/Non-Polyp", 0),),
    "test": (("Test/Non-Polyp", 0), ("Test/Polyp", 1)),
  }
