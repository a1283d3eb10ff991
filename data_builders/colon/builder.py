"""Colon_AD_public (colonoscopy), as split by MedIAnomaly's code."""

from data_builders import class_folders


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Colonoscopy images; abnormal means a lesion.

  MedIAnomaly reads the set, as gray images, and publishes no result on it.
  """

  CITATION = "Cai et al., MedIAnomaly, arXiv:2404.04518"
  HOMEPAGE = "https://github.com/caiyu6666/MedIAnomaly"
  COLUMNS = {"organ": "colon", "modality": "endoscopy"}
  LICENSE = "unknown: ask the set's authors"
  SOURCE = (
    "a folder with train_set, test_set/normal_test, test_set/abnormal_test"
  )
  FOLDERS = {
    "train": (("train_set", 0),),
    "test": (("test_set/normal_test", 0), ("test_set/abnormal_test", 1)),
  }
