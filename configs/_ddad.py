"""What the published DDAD-ASR configurations share (arXiv 2210.04227)."""

from ml_collections import ConfigDict

from configs import _base

PUBLISHED = ("ae", "memae", "aeu")  # backbones; others work, too


def published(backbone: str, dataset: str) -> ConfigDict:
  """The authors' settings; a data set's file adds its sizes."""
  config = _base.run("ddad", dataset)
  config.backbone = backbone
  config.model = ConfigDict({"width": 16, "latent": 16, "hidden": 2048})
  config.model.precision = "float32"  # or bfloat16
  if backbone == "memae":
    config.model.slots = 25
    config.model.threshold = 0.0
    config.model.entropy_weight = 2e-4
  if backbone == "dae":  # a U-Net, with widths of its own
    config.model = ConfigDict({"width": 64, "foreground": dataset == "brain"})
    config.model.precision = "float32"
  config.ensemble = ConfigDict({"size": 3})  # UDM members, and as many NDM
  config.train = _base.adam(250, 64, 5e-4, b1=0.5)
  config.refine = _base.adam(100, 8, 1e-4, b1=0.5)
  config.refine.weight_decay = 1e-4
  config.refine.inputs = ("dual",)  # of dual, intra
  config.refine.width = 128
  return config
