"""VGG19 and VGG16 without classifiers (Simonyan and Zisserman, ICLR 2015).

Layers are named by block and place: `conv4_2` is the second convolution of the
fourth block, `relu4_2` what follows it, `pool4` the end of the block.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks

# Channels of the five blocks; each ends with 2x2 pooling.
_WIDTHS = (64, 128, 256, 512, 512)


def _layers(counts: Sequence[int]) -> Iterator[tuple[str, int]]:
  """Names and channels of all layers, from the blocks' convolutions."""
  for block, (count, channels) in enumerate(
    zip(counts, _WIDTHS, strict=True), 1
  ):
    for i in range(1, count + 1):
      yield f"conv{block}_{i}", channels
      yield f"relu{block}_{i}", channels
    yield f"pool{block}", channels


CHANNELS = dict(_layers((2, 2, 4, 4, 4)))
# In order: torchvision's features.0, features.1, ...
LAYERS = tuple(CHANNELS)
LAYERS_OF_16 = tuple(dict(_layers((2, 2, 3, 3, 3))))


class VGG19(nn.Module):
  """The outputs of some layers; later layers are neither made nor computed.

  Initial values are those of torchvision: kernels normal with variance
  2 / (9 * out), biases zero.

  Attributes:
    layers: whose outputs to return, names of `LAYERS`.
  """

  known: ClassVar[tuple[str, ...]] = LAYERS  # all that there are, in order

  layers: tuple[str, ...] = ("relu4_2",)

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w 3"]
  ) -> dict[str, Float[Array, "b _ _ _"]]:
    """The outputs by name, after k poolings [b, h >> k, w >> k, c].

    Args:
      image: normalized as `perceptual.preprocess` does.

    Returns:
      One array for each name in `layers`.

    Raises:
      UserError: the image is too small for the poolings.
    """
    used = self.known[: 1 + max(self.known.index(n) for n in self.layers)]
    _check_size(image.shape[1:3], used)
    x, out = image, {}
    for name in used:
      x = self._layer(name, x)
      if name in self.layers:
        out[name] = x
    return out

  def _layer(self, name, x):
    if name.startswith("relu"):
      return nn.relu(x)
    if name.startswith("pool"):
      return nn.max_pool(x, (2, 2), (2, 2))
    return blocks.Conv(CHANNELS[name], 3, use_bias=True, name=name)(x)


class VGG16(VGG19):
  """VGG19 with three convolutions in each of its last three blocks.

  Attributes:
    layers: whose outputs to return, names of `LAYERS_OF_16`.
  """

  known = LAYERS_OF_16


def _check_size(sides, used):
  least = 2 ** sum(name.startswith("pool") for name in used)
  if min(sides) < least:
    raise types.UserError(
      f"images of {sides[0]}x{sides[1]} are too small for VGG up to"
      f" {used[-1]}, which halves them until nothing is left; use sides of"
      f" {least} or more (data.image_size)."
    )
