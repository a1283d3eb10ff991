"""MedIAnomaly's self-supervised methods on its benchmarks (arXiv 2404.04518).

  python -m medad_jax.main --config=configs/ssl.py:rsna/nsa
  python -m medad_jax.main --config=configs/ssl.py:brain/cutpaste-2s-3way

The argument is DATASET/METHOD. `phantom/nsa` is a small one, to try. A method
that is not the benchmark's has its own defaults.
"""

from ml_collections import ConfigDict

from configs import _base

ONE_STAGE = ("cutpaste", "fpi", "pii", "nsa")
# Method of medad_jax.methods, and what its configuration has of its own.
TWO_STAGE = {
  "cutpaste-2s": ("cutpaste_2s", {"variant": "normal"}),
  "cutpaste-2s-scar": ("cutpaste_2s", {"variant": "scar"}),
  "cutpaste-2s-union": ("cutpaste_2s", {"variant": "union"}),
  "cutpaste-2s-3way": ("cutpaste_2s", {"variant": "3way"}),
  "anatpaste": ("anatpaste", {}),
  "resnet18-imagenet": ("resnet18_imagenet", {}),
}
METHODS = (*ONE_STAGE, *TWO_STAGE)
EPOCHS = {"vin": 400}  # of the one-stage methods; the others 250


def get_config(argument: str = "phantom/nsa") -> ConfigDict:
  dataset, _, name = argument.partition("/")
  name = name.replace("_", "-")
  if name not in METHODS:
    return _base.default(name.replace("-", "_"), dataset)
  config = (_two_stage if name in TWO_STAGE else _one_stage)(dataset, name)
  return _small(config) if dataset == "phantom" else config


def _one_stage(dataset: str, name: str) -> ConfigDict:
  config = _base.default(name, dataset)
  config.data.image_size = 256  # of which a view is 7/8
  config.data.preparation = "crop"
  config.train.epochs = EPOCHS.get(dataset, 250)
  return config


def _two_stage(dataset: str, name: str) -> ConfigDict:
  method, model = TWO_STAGE[name]
  config = _base.default(method, dataset)
  config.data.image_size = 224
  config.data.channels = 3
  config.model.update(model)
  return config


def _small(config: ConfigDict) -> ConfigDict:
  if "train" not in config:
    config.data.image_size = 64
    return config
  config.validation.share = 0.1
  if config.train.algorithm == "sgd":
    config.data.image_size = 64
    config.train.epochs = 4
    config.train.epoch_steps = 25
    config.model.width = 16
  else:
    # Blending spares four pixels at each border: patches must not be tiny.
    config.data.image_size = 128
    config.train.epochs = 10
    config.model.width = 16
  return config
