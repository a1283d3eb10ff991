"""Deep-GEO as Shvetsova et al. (IEEE Access 2021) compare with it.

  python -m medad_jax.main --config=configs/deep_geo.py:phantom
  python -m medad_jax.main --config=configs/deep_geo.py:cifar10/reproduce/3
  python -m medad_jax.main --config=configs/deep_geo.py:nih_ap/with_cv

The argument is SET/PROTOCOL/CLASS, where the class is the normal one of
`cifar10` and `svhn`. `reproduce` has the three epochs of the method's own paper,
`with_cv` the epochs that cross-validation found; each is a single setting for
the other sets. `phantom`, to try, has the narrowest Wide ResNet, 32x32 images
and one epoch.
"""

from ml_collections import ConfigDict

from configs import _base

# Epochs of `with_cv`, by class where a set has ten.
EPOCHS = {
  "cifar10": (3, 3, 3, 4, 4, 1, 2, 2, 2, 2),
  "svhn": (2, 5, 5, 6, 9, 5, 7, 4, 3, 8),
  "camelyon16": (2,),
  "nih_ap": (2,),
  "nih_pa": (1,),
  "nih_subset": (1,),
}
GRAY = (0, 2, 5, 7, 9)  # classes of svhn that `with_cv` reads in gray
SMALL = ("cifar10", "svhn")  # of 32x32 pixels


def get_config(argument: str = "phantom") -> ConfigDict:
  dataset, protocol, number = _base.one_class(argument, "reproduce", "with_cv")
  config = _base.default("deep_geo", dataset)
  config.data.channels = 1
  if dataset == "phantom":
    return _phantom(config)
  if number is not None:
    config.data.name = f"{dataset}:{number}"
  if dataset in (*SMALL, "camelyon16"):
    config.data.channels = 3
  if dataset in SMALL:
    config.data.image_size = 32
    config.evaluation.batch_size = 1024
  else:
    config.model.blocks = 2
    config.model.width = 8
    config.model.translation = 16
    config.evaluation.batch_size = 128
  if protocol == "with_cv":
    config.train.epochs = EPOCHS[dataset][number or 0]
    if dataset == "svhn" and number in GRAY:
      config.data.channels = 1
  return config


def _phantom(config: ConfigDict) -> ConfigDict:
  config.data.image_size = 32
  config.model.width = 1
  config.train.epochs = 1
  return config
