"""Camelyon16 (metastases in lymph nodes), as split by MedIAnomaly."""

from data_builders import class_folders, remote


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Patches of stained tissue; abnormal means metastasis.

  The one set of the benchmark that is read in color: config.data.channels is
  3. Archive: Zenodo record 12677223.
  """

  CITATION = (
    "Ehteshami Bejnordi et al., JAMA 318 (2017) 2199; "
    "Cai et al., MedIAnomaly, arXiv:2404.04518"
  )
  HOMEPAGE = "https://zenodo.org/records/12677223"
  COLUMNS = {"organ": "lymph node", "modality": "histopathology"}
  LICENSE = "CC BY 4.0 (the archive on Zenodo)"
  SOURCE = "a folder with train/good, test/good, test/Ungood"
  MD5 = "c26c026d1c315deb52720d4c195e874f"
  BENCHMARK = "Camelyon16"
  REMOTE = (remote.zenodo("Camelyon16.tar.gz", MD5),)
  PUBLISHED = {"train": 5088, "test": 1120 + 1113}
  FOLDERS = {
    "train": (("train/good", 0),),
    "test": (("test/good", 0), ("test/Ungood", 1)),
  }
