"""NIH ChestX-ray14, images of a shipped list."""

from data_builders import nih


class Builder(nih.NihBuilder, skip_registration=True):
  """Chest radiographs of a published list; normal means "No Finding".

  The split is that of Shvetsova et al. The abnormal images of their folds are
  unlabeled ones.
  """

  NAME = "nih_subset"
  PUBLISHED = {"train": 4261, "test": 677 + 667}
