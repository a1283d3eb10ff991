"""The common values of the published DDAD-ASR configurations (2210.04227)."""

from ml_collections import ConfigDict

from configs import _base

PUBLISHED = ("ae", "memae", "aeu")  # backbones; others work, too


def published(backbone: str, dataset: str, extra: int) -> ConfigDict:
  """The authors' settings, the defaults; a data set's file adds its sizes."""
  config = _base.default("ddad", dataset, backbone)
  config.data.extra = extra
  if backbone == "dae":
    config.model.foreground = dataset == "brain"
  return config
