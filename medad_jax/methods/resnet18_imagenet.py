"""ResNet18 trained on ImageNet: a density of its features, no training.

Paper: none of its own; a baseline of MedIAnomaly (Cai et al., Medical Image
Analysis 2025, arXiv 2404.04518). Scored: the Mahalanobis distance of the
features from those of the training images. The weights are imported
(`python -m medad_jax.weights resnet18`) and travel with the checkpoints. The
official code shows images in [-1, 1] to the net; `imagenet_statistics` shows
them as ImageNet's. Which one its tables have is not known.
"""

import dataclasses

import jax.numpy as jnp

from medad_jax import rng, types
from medad_jax.methods import _two_stage
from medad_jax.nets.resnet import ResNet18
from medad_jax.scoring import density

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Method(_two_stage.Densities):
  """Hyper-parameters of the baseline.

  Attributes:
    weights: "imported", or "random" to try the program without them.
    imagenet_statistics: whether images are normalized as ImageNet's.
  """

  weights: types.Origin = "imported"
  imagenet_statistics: bool = False

  score_names = ("distance",)

  def phases(self):
    """ "features", which are not trained, then "density"."""
    features = types.Pretrained(
      "features", self.init, {"resnet18": self.weights}
    )
    return (features, self.fit("features"))

  def init(self, key, image_shape):
    """The net of one member, under "resnet18"."""
    image = jnp.zeros((1, *image_shape))
    made = ResNet18().init(rng.stream(key, "resnet18"), image, train=False)
    # The running statistics are ImageNet's; nothing updates them.
    return {"resnet18": made["params"]}, {"resnet18": made["batch_stats"]}

  def embed(self, states, batch):
    """The mean of the last layer's pixels."""
    image = batch["image"]
    if self.imagenet_statistics:
      # [-1, 1] -> [0, 1] first, the range of ImageNet's statistics.
      image = (image / 2 + 0.5 - jnp.array(_MEAN)) / jnp.array(_DEVIATION)
    state = states["features"]
    variables = {
      "params": state.params["resnet18"],
      "batch_stats": state.extra["resnet18"],
    }
    return density.normalize(ResNet18().apply(variables, image, train=False))

  def predict(self, states, batch):
    """ "distance" [b], and "latent", the features."""
    features = self.embed(states, batch)
    return {
      "distance": self.distance(states, features),
      "latent": features,
    }

  def score(self, preds, batch, fitted):
    """ "distance": the mean of the members'."""
    del batch, fitted
    return types.Scores({"distance": jnp.mean(preds["distance"], 0)}, {})
