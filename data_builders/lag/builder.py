"""LAG (large-scale attention-based glaucoma), as split by DDAD-ASR."""

from data_builders import image_list, remote


class Builder(image_list.ImageListBuilder, skip_registration=True):
  """Fundus photographs; abnormal means glaucoma.

  Images are color JPEG files, passed through unchanged. The lists are sorted
  by name: a prefix of them is no random sample.
  """

  CITATION = (
    "Li et al., Attention based glaucoma detection, CVPR 2019; "
    "Cai et al., Medical Image Analysis 86 (2023) 102794"
  )
  HOMEPAGE = "https://zenodo.org/records/12677223"
  COLUMNS = {"organ": "retina", "modality": "fundus photography"}
  LICENSE = "CC BY 4.0 (the archive on Zenodo)"
  MD5 = "0b4034ae8d5275f7723a512adb218f86"
  BENCHMARK = "LAG"
  REMOTE = (remote.zenodo("LAG.tar.gz", MD5),)
  PUBLISHED = {
    "train": 1500,
    "unlabelled_normal": 832,
    "unlabelled_abnormal": 900,
    "test": 1622,
  }
