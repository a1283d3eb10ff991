"""Deep-IF as Shvetsova et al. (IEEE Access 2021) compare with it.

  python -m medad_jax.main --config=configs/deep_if.py:phantom \
      --config.model.weights=random
  python -m medad_jax.main --config=configs/deep_if.py:cifar10/reproduce/3
  python -m medad_jax.main --config=configs/deep_if.py:nih_ap/with_cv

The argument is SET/PROTOCOL, and then the normal class of `cifar10` and `svhn`.
`reproduce` takes all layers of the network and is there for any set, `with_cv`
the layer that cross-validation found; of Camelyon16 it takes the patches of
x40, `camelyon16_x40`. `phantom`, to try, shows 200 training images to the
forest, and images of 96 instead of 299 pixels to the network.

--config.model.compared="('mixed_7a','concat')" fits a forest for each of these
layers, and gives each a score.
"""

from ml_collections import ConfigDict

from configs import _base

# Layers of `with_cv`, by class where a set has ten.
_7A, _7B = "mixed_7a", "conv2d_7b"
LAYERS = {
  "cifar10": (_7A, _7A, _7B, _7A, "concat", "concat", _7A, _7B, _7B, _7A),
  "svhn": (_7A, _7A, "concat", _7A, _7A, _7A, "mixed_6a", "concat", _7A, _7A),
  "camelyon16_x40": (_7B,),
  "nih_ap": (_7A,),
  "nih_pa": ("conv2d_1a",),
  "nih_subset": (_7A,),
}
CLASSES = ("cifar10", "svhn")
GRAY = (0, 3, 5, 7, 8, 9)  # classes of svhn that `with_cv` reads in gray
PREPARATIONS = {
  "camelyon16/reproduce": "crop:64",
  "camelyon16_x40/with_cv": "crop:256",
  "nih_ap/with_cv": "gray,resize:300,crop:224,equalize,resize:64",
  "nih_pa/with_cv": "gray,resize:300,crop:300,equalize,resize:64",
}
CHEST = "gray,resize:300,crop:224,resize:64"  # of the other protocols of nih


def arguments() -> list[str]:
  """All published protocols."""
  return [
    "camelyon16/reproduce",
    *(
      f"{name}/{protocol}" + (f"/{k}" if name in CLASSES else "")
      for name, layers in LAYERS.items()
      for protocol in ("reproduce", "with_cv")
      for k in range(len(layers))
      if (name, protocol) != ("camelyon16_x40", "reproduce")
    ),
  ]


def get_config(argument: str = "phantom") -> ConfigDict:
  name, _, rest = argument.partition("/")
  protocol, _, number = rest.partition("/")
  if name in LAYERS or (name != "phantom" and rest != "reproduce"):
    _base.check(argument, arguments())
  config = _base.default("deep_if", name)
  if name == "phantom":
    config.model.update(side=96, rows=200)
    return config
  config.evaluation.batch_size = 32
  if name in CLASSES:
    config.data.update(name=f"{name}:{number}", image_size=32, channels=3)
  elif name.startswith("camelyon16"):
    config.data.channels = 3
    config.data.image_size = 256 if name == "camelyon16_x40" else 64
  usual = CHEST if name.startswith("nih_") else config.data.preparation
  config.data.preparation = PREPARATIONS.get(f"{name}/{protocol}", usual)
  if protocol == "with_cv":
    config.model.layer = LAYERS[name][int(number or 0)]
    if name == "svhn" and int(number) in GRAY:
      config.data.channels = 1
  return config
