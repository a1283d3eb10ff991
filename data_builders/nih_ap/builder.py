"""NIH ChestX-ray14, images of the view AP."""

from data_builders import nih


class Builder(nih.NihBuilder, skip_registration=True):
  """Chest radiographs of the view AP; normal means "No Finding".

  The split is that of Shvetsova et al. The abnormal images of their folds are
  unlabeled ones.
  """

  NAME = "nih_ap"
  PUBLISHED = {"train": 16003, "test": 5056 + 9444}
