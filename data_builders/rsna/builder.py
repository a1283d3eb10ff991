"""RSNA Pneumonia Detection Challenge, as split by DDAD-ASR."""

from data_builders import image_list, remote


class Builder(image_list.ImageListBuilder, skip_registration=True):
  """Chest radiographs; abnormal means lung opacity.

  Images are 512x512 gray PNG files made by `data_builders.convert_dicom`;
  the lists are shuffled. Archive: Zenodo record 12677223 (Med-AD v1).
  """

  CITATION = (
    "Shih et al., Radiology: Artificial Intelligence 1 (2019) e180041; "
    "Cai et al., Medical Image Analysis 86 (2023) 102794"
  )
  HOMEPAGE = "https://zenodo.org/records/12677223"
  COLUMNS = {"organ": "chest", "modality": "X-ray"}
  LICENSE = "CC BY 4.0 (the archive on Zenodo)"
  MD5 = "5d6b85ce4b2daad8f1760eb23c050a7d"
  BENCHMARK = "RSNA"
  REMOTE = (remote.zenodo("RSNA.tar.gz", MD5),)
  PUBLISHED = {
    "train": 3851,
    "unlabelled_normal": 4000,
    "unlabelled_abnormal": 5012,
    "test": 2000,
  }
