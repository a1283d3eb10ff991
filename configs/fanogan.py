"""f-AnoGAN on any data set (Schlegl et al., Medical Image Analysis 2019).

  python -m medad_jax.main --config=configs/fanogan.py
  python -m medad_jax.main --config=configs/fanogan.py:brain

The argument is the data set, `phantom` by default: smaller images and nets,
fewer steps and higher learning rates, made to show the whole program in a few
minutes. With any other one, everything is as published; where seven epochs are
few steps, set config.gan.steps.
"""

from ml_collections import ConfigDict

from configs import _base


def get_config(dataset: str = "phantom") -> ConfigDict:
  config = _base.default("fanogan", dataset)
  if dataset == "phantom":
    config.data.image_size = 32
    config.model.width = 8
    config.model.latent = 32
    config.gan.steps = 300
    config.gan.batch_size = 16
    config.gan.learning_rate = 5e-4
    config.train.steps = 800
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3
  return config
