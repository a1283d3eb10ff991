"""LAG (large-scale attention-based glaucoma), as split by DDAD-ASR."""

from data_builders import image_list


class Builder(image_list.ImageListBuilder, skip_registration=True):
  """Fundus photographs; abnormal means glaucoma.

  Images are color JPEG files, passed through unchanged. The lists are sorted
  by name: a prefix of them is no random sample.
  """

  MD5 = "0b4034ae8d5275f7723a512adb218f86"
  PUBLISHED = {
    "train": 1500,
    "unlabelled_normal": 832,
    "unlabelled_abnormal": 900,
    "test": 1622,
  }
