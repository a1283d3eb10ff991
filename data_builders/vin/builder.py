"""VinBigData Chest X-ray (VinDr-CXR), as split by DDAD-ASR."""

from data_builders import image_list, remote


class Builder(image_list.ImageListBuilder, skip_registration=True):
  """Chest radiographs; abnormal means any finding.

  Images are 512x512 gray PNG files made by `data_builders.convert_dicom`;
  the lists are shuffled. Archive: Zenodo record 12677223 (Med-AD v1).
  """

  CITATION = (
    "Nguyen et al., VinDr-CXR, Scientific Data 9 (2022) 429; "
    "Cai et al., Medical Image Analysis 86 (2023) 102794"
  )
  HOMEPAGE = "https://zenodo.org/records/12677223"
  COLUMNS = {"organ": "chest", "modality": "X-ray"}
  LICENSE = "CC BY 4.0 (the archive on Zenodo)"
  MD5 = "45cf848a4eba925062531c5f2d344ddc"
  BENCHMARK = "VinCXR"
  REMOTE = (remote.zenodo("VinCXR.tar.gz", MD5),)
  PUBLISHED = {
    "train": 4000,
    "unlabelled_normal": 5606,
    "unlabelled_abnormal": 3394,
    "test": 2000,
  }
