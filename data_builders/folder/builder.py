"""Your own images, sorted into folders."""

from data_builders import class_folders


class Builder(class_folders.ClassFolderBuilder, skip_registration=True):
  """Images of one folder a class, in the order of their names.

  train/normal, test/normal and test/abnormal are needed. unlabelled/normal and
  unlabelled/abnormal are what DDAD's second ensemble learns from (the label is
  kept for the anomaly ratio, no method sees it). With test/masks, every image
  of test/abnormal has a mask of the same name there; what is not black is
  abnormal, or, with soft outlines, what has half the highest value. Files are
  PNG, JPEG, BMP or TIFF with 8 bits a channel, one page and no EXIF
  orientation. Hidden files and folders are skipped.
  """

  CITATION = "none: the images are the user's own"
  LICENSE = "that of the images' owner"
  SOURCE = "a folder with train/normal, test/normal, test/abnormal"
  FOLDERS = {
    "train": (("train/normal", 0),),
    "unlabelled_normal": (("unlabelled/normal", 0),),
    "unlabelled_abnormal": (("unlabelled/abnormal", 1),),
    "test": (("test/normal", 0), ("test/abnormal", 1)),
  }
  OPTIONAL = frozenset(
    {"unlabelled/normal", "unlabelled/abnormal", "test/masks"}
  )
  MASKS = "test/masks"
