"""Vision transformers of DINOv2 (Oquab et al., TMLR 2024), for inference.

Dosovitskiy et al., ICLR 2021, with scales behind both halves of a block
(Touvron et al., ICCV 2021). RAD-DINO (Perez-Garcia et al., Nature Machine
Intelligence 2025) has the net of the base size.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from medad_jax import types
from medad_jax.nets import blocks, ops

PATCH = 14  # pixels a side
DEPTH = 12  # blocks, of the small and the base size
LAYERS = (*(f"block{k}" for k in range(DEPTH)), "norm")
_TRAINED = 37  # patches a side of the images that positions were learned on
_EPSILON = 1e-6


class VisionTransformer(nn.Module):
  """The patches of some layers; later layers are neither made nor computed.

  Attributes:
    layers: whose outputs to return, names of `LAYERS`: those of blocks, and the
      last one's after the final normalization.
    width: channels; 384 of the small size, 768 of the base.
    heads: of the attention; 64 channels each.
    trained: patches a side that there are positions for.
  """

  layers: tuple[str, ...] = ("norm",)
  width: int = 768
  heads: int = 12
  trained: int = _TRAINED

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"]) -> dict[str, Array]:
    """The outputs by name, [b h/14 w/14 c].

    Args:
      image: its sides are multiples of 14.

    Raises:
      UserError: they are not.
    """
    count, *sides = image.shape[:3]
    if any(side % PATCH for side in sides):
      raise types.UserError(
        f"data.image_size={sides[0]} was given; set it to a multiple of"
        f" {PATCH}, the side of a patch, such as 224 or 448."
      )
    rows, columns = (side // PATCH for side in sides)
    x = self._tokens(image, rows, columns)
    used = LAYERS[: 1 + max(LAYERS.index(name) for name in self.layers)]
    out = {}
    for name in used:
      if name == "norm":
        x = nn.LayerNorm(epsilon=_EPSILON, name=name)(x)
      else:
        x = Block(self.heads, name=name)(x)
      if name in self.layers:
        # The class token says nothing of a place.
        out[name] = x[:, 1:].reshape(count, rows, columns, self.width)
    return out

  def _tokens(self, image, rows, columns):
    """The class token, and the patches with their positions [b 1+n c]."""
    count = len(image)
    patches = Embed(self.width, name="embed")(image)
    patches = patches.reshape(count, rows * columns, self.width)
    normal = nn.initializers.normal(0.02)
    first = self.param("cls", normal, (1, 1, self.width))
    shape = (1, 1 + self.trained**2, self.width)
    positions = self.param("positions", normal, shape)
    grid = positions[0, 1:].reshape(self.trained, self.trained, self.width)
    for axis, side in enumerate((rows, columns)):
      turned = jnp.moveaxis(grid, axis, -1)
      resized = ops.matmul(turned, jnp.asarray(cubic(self.trained, side)))
      grid = jnp.moveaxis(resized, -1, axis)
    patches += grid.reshape(1, rows * columns, self.width)
    first = jnp.broadcast_to(first + positions[:, :1], (count, 1, self.width))
    return jnp.concatenate([first, patches], 1)


class Embed(nn.Module):
  """A convolution of patches side by side, which is a product of each.

  Attributes:
    width: channels of the output.
  """

  width: int

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b y x c"]:
    """A vector for each patch."""
    count, height, width, channels = image.shape
    rows, columns = height // PATCH, width // PATCH
    shape = (PATCH, PATCH, channels, self.width)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros, (self.width,))
    cut = image.reshape(count, rows, PATCH, columns, PATCH, channels)
    cut = cut.transpose(0, 1, 3, 2, 4, 5).reshape(count, rows, columns, -1)
    return ops.matmul(cut, kernel.reshape(-1, self.width)) + bias


class Block(nn.Module):
  """Attention among the patches, then a perceptron of each.

  Attributes:
    heads: of the attention.
  """

  heads: int

  @nn.compact
  def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
    """Tokens of the same number."""
    width = x.shape[-1]
    ones = nn.initializers.ones
    y = nn.LayerNorm(epsilon=_EPSILON, name="norm1")(x)
    y = self._attention(y)
    x = x + y * self.param("scale1", ones, (width,))
    y = nn.LayerNorm(epsilon=_EPSILON, name="norm2")(x)
    y = nn.gelu(blocks.Dense(4 * width, name="fc1")(y), approximate=False)
    y = blocks.Dense(width, name="fc2")(y)
    return x + y * self.param("scale2", ones, (width,))

  def _attention(self, x):
    count, tokens, width = x.shape
    apart = (count, tokens, self.heads, width // self.heads)
    query, key, value = (
      blocks.Dense(width, name=name)(x).reshape(apart)
      for name in ("query", "key", "value")
    )
    products = jnp.einsum("bqhd,bkhd->bhqk", query, key, precision="highest")
    shares = jax.nn.softmax(products * apart[-1] ** -0.5, -1)
    found = jnp.einsum("bhqk,bkhd->bqhd", shares, value, precision="highest")
    return blocks.Dense(width, name="out")(found.reshape(x.shape))


def cubic(old: int, new: int) -> Float[np.ndarray, "old new"]:
  """Weights that resize an axis as PyTorch's bicubic interpolation does.

  Keys' kernel with a = -0.75, half-pixel centers, edges repeated, no blur when
  an axis shrinks: what the positions were trained with.
  """
  found = np.zeros((old, new), np.float32)
  for place in range(new):
    center = (place + 0.5) * old / new - 0.5
    first = int(np.floor(center)) - 1
    for at in range(first, first + 4):
      found[min(max(at, 0), old - 1), place] += _keys(abs(center - at))
  return found


def _keys(gap: float) -> float:
  a = -0.75
  if gap <= 1:
    return (a + 2) * gap**3 - (a + 3) * gap**2 + 1
  if gap < 2:
    return a * (gap**3 - 5 * gap**2 + 8 * gap - 4)
  return 0.0
