"""ResNet18 with a projection head, to classify synthetic anomalies.

CutPaste (Li et al., CVPR 2021, section 3.1): the head is there for training,
anomalies are scored on the features before it.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, resnet

_WIDE, _LAST = 512, 128


class Projection(nn.Module):
  """Features and the logits of the kind of image.

  Attributes:
    axis: where the batch is split over devices.
    classes: kinds of images.
    layers: of 512 units in the head, before its last one of 128.
  """

  axis: types.Axis = types.Axis()
  classes: int = 2
  layers: int = 1

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> dict[str, Float[Array, "b _"]]:
    """Features "embedding" [b 512] and "logits" [b classes]."""
    embedding = resnet.ResNet18(self.axis, name="resnet18")(image, train)
    x = embedding
    for units in (_WIDE,) * self.layers + (_LAST,):
      x = blocks.BatchNorm(self.axis)(blocks.Dense(units)(x), train)
      x = nn.relu(x)
    logits = blocks.Dense(self.classes, name="out")(x)
    return {"embedding": embedding, "logits": logits}
