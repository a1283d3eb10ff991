"""Brain Tumor MRI (Kaggle, M. Nickparvar), as split by DDAD-ASR."""

from data_builders import image_list, remote


class Builder(image_list.ImageListBuilder, skip_registration=True):
  """Brain MR slices; abnormal means glioma or meningioma.

  Images are JPEG files of many sizes, gray and RGB, passed through unchanged.
  The lists are sorted by name: a prefix of them is no random sample.
  """

  CITATION = (
    "Nickparvar, Brain Tumor MRI Dataset, Kaggle (2021); "
    "Cai et al., Medical Image Analysis 86 (2023) 102794"
  )
  HOMEPAGE = "https://zenodo.org/records/12677223"
  COLUMNS = {"organ": "brain", "modality": "MR"}
  LICENSE = "CC BY 4.0 (the archive on Zenodo)"
  MD5 = "ab6482f646262fc4669b0135d80a0482"
  BENCHMARK = "BrainTumor"
  REMOTE = (remote.zenodo("BrainTumor.tar.gz", MD5),)
  PUBLISHED = {
    "train": 1000,
    "unlabelled_normal": 400,
    "unlabelled_abnormal": 600,
    "test": 1200,
  }
