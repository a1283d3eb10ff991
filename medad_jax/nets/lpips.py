"""LPIPS: a perceptual distance of images by a classifier's features.

Zhang et al., CVPR 2018, arXiv 1801.03924, in version 0.1 of the official
package. Features of some layers of a trunk that was trained on ImageNet are
scaled to unit length at each pixel. Their squared differences are summed with
the learned weights of one linear head a layer.

All functions take the parameters of a net as `init` makes them: the trunk's and
the heads', under the names of `PARTS`, by which `medad_jax.weights` imports
them. Images are in [-1, 1], gray or RGB. Nothing is clipped.
"""

from collections.abc import Mapping
from typing import Any, Literal

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from medad_jax import rng, types
from medad_jax.interpolation import edges_on_edges
from medad_jax.nets import blocks, ops, vgg

Name = Literal["squeeze", "alex", "vgg"]
# Names of a trunk and of its heads among the weights that can be imported.
PARTS: Mapping[Name, tuple[str, str]] = {
  "squeeze": ("squeezenet1_1", "lpips_squeeze"),
  "alex": ("alexnet", "lpips_alex"),
  "vgg": ("vgg16", "lpips_vgg"),
}
# Channels of the layers that are compared.
CHANNELS: Mapping[Name, tuple[int, ...]] = {
  "squeeze": (64, 128, 256, 384, 384, 512, 512),
  "alex": (64, 192, 384, 256, 256),
  "vgg": (64, 128, 256, 512, 512),
}

# Of ImageNet's pixels in [-1, 1], as the official package rounds them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_TINY = 1e-10
_LEAST = 32  # pixels a side that leave one of each layer
_VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


class SqueezeNet(nn.Module):
  """SqueezeNet 1.1 (Iandola et al., 2016) without its classifier.

  Modules carry torchvision's names with "_" for ".".
  """

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w 3"]
  ) -> list[Float[Array, "b _ _ _"]]:
    """Outputs of the first convolution and of the second to last fires."""
    x = nn.relu(
      blocks.Conv(64, 3, 2, use_bias=True, padding=0, name="features_0")(image)
    )
    # Channels that a fire squeezes to, by its place among the features.
    fires = {3: 16, 4: 16, 6: 32, 7: 32, 9: 48, 10: 48, 11: 64, 12: 64}
    out = [x]
    for place, squeezed in fires.items():
      if place in (3, 6, 9):
        x = _pooled_upward(x)
      x = _Fire(squeezed, name=f"features_{place}")(x)
      # The first fire after the two early poolings is not compared.
      if place not in (3, 6):
        out.append(x)
    return out


class _Fire(nn.Module):
  """Few channels, then four times as many by each of two convolutions."""

  squeezed: int

  @nn.compact
  def __call__(self, x):
    def conv(channels, side, name):
      return blocks.Conv(channels, side, use_bias=True, name=name)

    x = nn.relu(conv(self.squeezed, 1, "squeeze")(x))
    expanded = [
      nn.relu(conv(4 * self.squeezed, side, f"expand{side}x{side}")(x))
      for side in (1, 3)
    ]
    return jnp.concatenate(expanded, -1)


class AlexNet(nn.Module):
  """AlexNet of one column (Krizhevsky, 2014) without its classifier.

  Modules carry torchvision's names with "_" for ".".
  """

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w 3"]
  ) -> list[Float[Array, "b _ _ _"]]:
    """Outputs of the five convolutions."""
    x, out = image, []
    # (place among the features, channels, side, stride, padding).
    for place, channels, side, stride, padding in (
      (0, 64, 11, 4, 2),
      (3, 192, 5, 1, 2),
      (6, 384, 3, 1, 1),
      (8, 256, 3, 1, 1),
      (10, 256, 3, 1, 1),
    ):
      if place in (3, 6):
        x = nn.max_pool(x, (3, 3), (2, 2))
      conv = blocks.Conv(
        channels,
        side,
        stride,
        use_bias=True,
        padding=padding,
        name=f"features_{place}",
      )
      x = nn.relu(conv(x))
      out.append(x)
    return out


class VGG16(nn.Module):
  """VGG16 up to its last convolution; modules as in `nets/vgg.py`."""

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w 3"]
  ) -> list[Float[Array, "b _ _ _"]]:
    """Outputs of the last convolution of each block."""
    net = vgg.VGG16(_VGG_LAYERS)
    # Its modules are this one's, so that they keep their imported names.
    nn.share_scope(self, net)
    out = net(image)
    return [out[name] for name in _VGG_LAYERS]


TRUNKS: Mapping[Name, type[nn.Module]] = {
  "squeeze": SqueezeNet,
  "alex": AlexNet,
  "vgg": VGG16,
}


def init(name: Name, key: PRNGKeyArray) -> dict[str, Any]:
  """Random parameters of a net: its trunk and its heads, by `PARTS`.

  The heads' weights are positive, as the learned ones are.
  """
  trunk, heads = PARTS[name]
  # Any size will do, as all layers are convolutions.
  image = jnp.zeros((1, _LEAST, _LEAST, 3))
  made = TRUNKS[name]().init(rng.stream(key, trunk), image)
  draw = nn.initializers.uniform(0.1)
  return {
    trunk: made["params"],
    heads: {
      f"lin{i}": {"kernel": draw(rng.stream(key, f"{heads}/{i}"), (n, 1))}
      for i, n in enumerate(CHANNELS[name])
    },
  }


def features(
  name: Name, params: Mapping[str, Any], image: Float[Array, "b h w c"]
) -> list[Float[Array, "b _ _ _"]]:
  """The compared layers' outputs, of unit length at each pixel.

  Raises:
    UserError: a side is under 32 pixels.
  """
  h, w, _ = image.shape[1:]
  if min(h, w) < _LEAST:
    raise types.UserError(
      f"images of {h}x{w} are too small for LPIPS, whose trunks halve them"
      f" until nothing is left; set data.image_size to {_LEAST} or more."
    )
  shift, scale = (jnp.asarray(x, image.dtype) for x in (_SHIFT, _SCALE))
  # Gray becomes three channels here, by broadcasting.
  x = (image - shift) / scale
  out = TRUNKS[name]().apply({"params": params[PARTS[name][0]]}, x)
  return [_of_unit_length(x) for x in out]


def distance_map(
  name: Name,
  params: Mapping[str, Any],
  x: Float[Array, "b h w c"],
  y: Float[Array, "m h w c"],
) -> Float[Array, "m h w"]:
  """LPIPS of images at each pixel; `spatial=True` in the official package.

  Args:
    name: of the net.
    params: its parameters.
    x: images, each of which is compared with m / b of y in a row.
    y: other images.
  """
  return sum(
    edges_on_edges(layer, x.shape[1:3])[..., 0]
    for layer in _layers(name, params, x, y)
  )


def distance(
  name: Name,
  params: Mapping[str, Any],
  x: Float[Array, "b h w c"],
  y: Float[Array, "m h w c"],
) -> Float[Array, "m"]:
  """LPIPS of images as in `distance_map`: the sum of the layers' means."""
  return sum(
    jnp.mean(layer, (1, 2, 3)) for layer in _layers(name, params, x, y)
  )


def _layers(name, params, x, y) -> list[Float[Array, "m _ _ 1"]]:
  """The heads' distances, one map a layer."""
  # An image is seen once, whatever the number of its partners.
  seen = features(name, params, x)
  wanted = [jnp.repeat(f, len(y) // len(x), 0) for f in seen]
  heads = params[PARTS[name][1]]
  return [
    ops.matmul((f - g) ** 2, heads[f"lin{i}"]["kernel"])
    for i, (f, g) in enumerate(
      zip(features(name, params, y), wanted, strict=True)
    )
  ]


def _of_unit_length(x):
  # A pixel may have no feature at all. Only scores are made of this, so that
  # the root's gradient at zero does not matter.
  return x / (jnp.sqrt(jnp.sum(x**2, -1, keepdims=True)) + _TINY)


def _pooled_upward(x):
  """3x3 maxima at every second pixel, with a window for what is left over."""
  left = [(0, (side - 3) % 2) for side in x.shape[1:3]]
  return nn.max_pool(x, (3, 3), (2, 2), left)
