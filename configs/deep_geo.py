"""Deep-GEO as Shvetsova et al. (IEEE Access 2021) compare with it.

  python -m medad_jax.main --config=configs/deep_geo.py:phantom
  python -m medad_jax.main --config=configs/deep_geo.py:cifar10/reproduce/3
  python -m medad_jax.main --config=configs/deep_geo.py:nih_ap/with_cv

The argument is SET/PROTOCOL/CLASS, where the class is the normal one of
`cifar10` and `svhn`. `reproduce` has the three epochs of the method's own
paper and is there for any set, `with_cv` the epochs that cross-validation
found. `phantom`, to try, has the narrowest Wide ResNet, images of 32x32 and one
epoch.

The authors trained `nih_ap/with_cv` and `nih_pa/with_cv` on a fold in some of
their runs; here the whole list trains. Their runs of SVHN with `with_cv` and
the classes 1, 3, 4, 6 and 8 could not start: these have the whole split, too.
"""

from ml_collections import ConfigDict

from configs import _base, _one_class

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
# Preparations by set, where `with_cv` has one of its own.
TUNED = {
  "nih_pa": _one_class.chest(equalize=True),
  "nih_subset": _one_class.chest(crop=300),
}


def get_config(argument: str = "phantom") -> ConfigDict:
  name, protocol, number = _one_class.read(
    argument, ("reproduce", "with_cv"), tuple(EPOCHS)
  )
  config = _base.default("deep_geo", name)
  if name == "phantom":
    config.data.image_size = 32
    config.model.width = 1
    config.train.epochs = 1
    return config
  config.data.channels = 3 if name in _one_class.RGB else 1
  if number is None:
    config.model.blocks = 2
    config.model.width = 8
    config.model.translation = 16
    config.evaluation.batch_size = 128
  else:
    config.data.name = f"{name}:{number}"
    config.data.image_size = 32
    config.evaluation.batch_size = 1024
  if name == "camelyon16":
    config.data.preparation = "crop:64"
  elif name.startswith("nih_"):
    config.data.preparation = _one_class.chest()
  if protocol == "with_cv":
    config.data.preparation = TUNED.get(name, config.data.preparation)
    config.train.epochs = EPOCHS[name][number or 0]
    if name == "svhn" and number in GRAY:
      config.data.channels = 1
  return config
