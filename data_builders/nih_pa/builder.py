"""NIH ChestX-ray14, images of the view PA."""

from data_builders import nih


class Builder(nih.NihBuilder, skip_registration=True):
  """Chest radiographs of the view PA; normal means "No Finding".

  The split is that of Shvetsova et al. The abnormal images of their folds are
  unlabeled ones.
  """

  NAME = "nih_pa"
  PUBLISHED = {"train": 34497, "test": 4805 + 6291}
