"""Deep-IF as Shvetsova et al. (IEEE Access 2021) compare with it.

  python -m medad_jax.main --config=configs/deep_if.py:phantom \
    --config.model.weights=random
  python -m medad_jax.main --config=configs/deep_if.py:cifar10/reproduce/3
  python -m medad_jax.main --config=configs/deep_if.py:nih_ap/with_cv

The argument is SET/PROTOCOL/CLASS, where the class is the normal one of
`cifar10` and `svhn`. `reproduce` takes all layers of the network and is there
for any set, `with_cv` the layer that cross-validation found. `phantom`, to try,
shows 200 training images to the forest, and images of 96 instead of 299 pixels
to the network.
"""

from ml_collections import ConfigDict

from configs import _base, _one_class

# Layers of `with_cv`, by class where a set has ten.
_7A = "mixed_7a"
LAYERS = {
  "cifar10": (
    *(_7A, _7A, "conv2d_7b", _7A, "concat"),
    *("concat", _7A, "conv2d_7b", "conv2d_7b", _7A),
  ),
  "svhn": (
    *(_7A, _7A, "concat", _7A, _7A),
    *(_7A, "mixed_6a", "concat", _7A, _7A),
  ),
  "camelyon16_x40": ("conv2d_7b",),
  "nih_ap": (_7A,),
  "nih_pa": ("conv2d_1a",),
  "nih_subset": (_7A,),
}
GRAY = (0, 3, 5, 7, 8, 9)  # classes of svhn that `with_cv` reads in gray
# Preparations by set, where `with_cv` has one of its own.
TUNED = {
  "nih_ap": _one_class.chest(equalize=True),
  "nih_pa": _one_class.chest(crop=300, equalize=True),
}


def get_config(argument: str = "phantom") -> ConfigDict:
  name, protocol, number = _one_class.read(
    argument, ("reproduce", "with_cv"), tuple(LAYERS)
  )
  config = _base.default("deep_if", name)
  if name == "phantom":
    config.model.side = 96
    config.model.rows = 200
    return config
  config.data.channels = 3 if name in _one_class.RGB else 1
  if number is not None:
    config.data.name = f"{name}:{number}"
    config.data.image_size = 32
  if name == "camelyon16":
    config.data.preparation = "crop:64"
  elif name == "camelyon16_x40":
    config.data.preparation = "crop:256"
    config.data.image_size = 256
  elif name.startswith("nih_"):
    config.data.preparation = _one_class.chest()
  if protocol == "with_cv":
    config.data.preparation = TUNED.get(name, config.data.preparation)
    config.model.layer = LAYERS[name][number or 0]
    if name == "svhn" and number in GRAY:
      config.data.channels = 1
  config.evaluation.batch_size = 32
  return config
