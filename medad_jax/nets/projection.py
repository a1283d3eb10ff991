"""ResNet18 with a projection head, to classify synthetic anomalies.

CutPaste (Li et al., CVPR 2021, section 3.1): the head is there for training,
anomalies are scored on the features before it.
"""

from flax import linen as nn
from jaxtyping import Array, Float

from medad_jax import types
from medad_jax.nets import blocks, resnet


class Projection(nn.Module):
  """Features and the logits of the kind of image.

  Attributes:
    axis: where the batch is split over devices.
    classes: kinds of images.
    layers: of 8 * width units in the head, before its last one of 2 * width.
    width: channels of ResNet18's first stage.
  """

  axis: types.Axis = types.Axis()
  classes: int = 2
  layers: int = 1
  width: int = 64

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool
  ) -> dict[str, Float[Array, "b _"]]:
    """Features "embedding" [b 8*width] and "logits" [b classes]."""
    embedding = resnet.ResNet18(self.axis, width=self.width, name="resnet18")(
      image, train
    )
    x = embedding
    for units in (8 * self.width,) * self.layers + (2 * self.width,):
      x = blocks.BatchNorm(self.axis)(blocks.Dense(units)(x), train)
      x = nn.relu(x)
    logits = blocks.Dense(self.classes, name="out")(x)
    return {"embedding": embedding, "logits": logits}
