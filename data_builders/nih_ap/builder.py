"""NIH ChestX-ray14, images of the view AP."""

from data_builders import nih


class Builder(nih.NihBuilder, skip_registration=True):
  """Chest radiographs of the view AP (split: Shvetsova et al.); normal means "No Finding".

  The abnormal images of the published folds are unlabeled ones.
  """

  NAME = "nih_ap"
  PUBLISHED = {"train": 16003, "test": 5056 + 9444}
