"""NIH ChestX-ray14, images of a shipped list."""

from data_builders import nih


class Builder(nih.NihBuilder, skip_registration=True):
  """Chest radiographs of a list of Shvetsova et al.; normal means "No Finding".

  The abnormal images of the published folds are unlabeled ones.
  """

  NAME = "nih_subset"
  PUBLISHED = {"train": 4261, "test": 677 + 667}
