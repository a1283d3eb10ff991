"""Nets trained on ImageNet, and the features of images that methods take."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import efficientnet, resnet, vgg, vit

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RADIOGRAPHS = ((0.5307,) * 3, (0.2583,) * 3)  # of RAD-DINO's training
_TENSORFLOW = ((127 / 255,) * 3, (128 / 255,) * 3)


@dataclasses.dataclass(frozen=True)
class Backbone:
  """A net and the usual layers of it.

  Attributes:
    module: makes the net that returns some layers, by name.
    known: names of its layers.
    patches: layers whose features make patches, the finest first.
    pooled: the layer that is averaged over an image.
    statistics: mean and deviation of its training's pixels in [0, 1].
  """

  module: Callable[[tuple[str, ...]], nn.Module]
  known: tuple[str, ...]
  patches: tuple[str, ...]
  pooled: str
  statistics: tuple[tuple[float, ...], tuple[float, ...]]

  def preprocess(
    self, image: Float[Array, "b h w c"]
  ) -> Float[Array, "b h w 3"]:
    """The net's input from values in [-1, 1]; gray becomes three channels."""
    image = jnp.broadcast_to(image, (*image.shape[:-1], 3))
    mean, deviation = (
      jnp.asarray(values, image.dtype) for values in self.statistics
    )
    return (image / 2 + 0.5 - mean) / deviation

  def check(self, layers: Sequence[str]) -> None:
    """Raises UserError unless the net has all these layers."""
    if unknown := [name for name in layers if name not in self.known]:
      raise types.UserError(
        f"the net has no layer {', '.join(unknown)}; choose among"
        f" {', '.join(self.known)}."
      )


BACKBONES: Mapping[str, Backbone] = {
  "efficientnet_lite0": Backbone(
    efficientnet.EfficientNetLite0,
    efficientnet.LAYERS[:-1],
    ("block4", "block10"),
    "block15",
    _TENSORFLOW,
  ),
  "resnet18": Backbone(
    resnet.ResNet18Layers,
    resnet.LAYERS,
    ("layer2", "layer3"),
    "layer4",
    _IMAGENET,
  ),
  "vgg19": Backbone(
    vgg.VGG19, vgg.LAYERS, ("relu4_4", "relu5_4"), "pool5", _IMAGENET
  ),
  "dinov2_base": Backbone(
    vit.VisionTransformer, vit.LAYERS, ("norm",), "norm", _IMAGENET
  ),
  "rad_dino": Backbone(
    vit.VisionTransformer, vit.LAYERS, ("norm",), "norm", _RADIOGRAPHS
  ),
}


def patches(features: Sequence[Float[Array, "b _ _ _"]]) -> Array:
  """Locally aware patch features (Roth et al., CVPR 2022, section 3.1).

  Each layer is averaged over 3x3 pixels, with zeros outside of the image, and
  brought to the sides of the first one, bilinearly.

  Args:
    features: of several layers, the finest first.

  Returns:
    All channels side by side [b y x d].
  """
  sides = features[0].shape[1:3]
  found = []
  for layer in features:
    layer = nn.avg_pool(layer, (3, 3), padding=((1, 1), (1, 1)))
    shape = (len(layer), *sides, layer.shape[-1])
    found.append(jax.image.resize(layer, shape, "bilinear"))
  return jnp.concatenate(found, -1)
