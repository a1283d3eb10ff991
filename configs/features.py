"""Frozen features (PatchCore and its parts) on any data set, without training.

  python -m medad_jax.main --config=configs/features.py:brain

The argument is the data set. The weights of EfficientNet-lite0 are installed
with the requirements.
"""

from ml_collections import ConfigDict

from configs import _base

RGB = ("c16", "isic", "colon")


def get_config(dataset: str = "phantom") -> ConfigDict:
  config = _base.default("patchcore", dataset)
  config.data.image_size = 224
  config.data.channels = 3 if dataset in RGB else 1
  config.evaluation.batch_size = 32
  return config
