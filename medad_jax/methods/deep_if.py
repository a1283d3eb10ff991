"""Deep-IF: an isolation forest of an ImageNet network's features.

Paper: Ouardini et al., MICCAI workshop DART 2019, as Shvetsova et al. compare
with it (IEEE Access 2021, arXiv 2006.13265). Scored: the forest's anomaly
score, which is near 1 where random trees isolate an image after few splits. The
features are means over the pixels of Inception-ResNet-v2's layers, neither
reduced nor standardized. The weights are imported
(`python -m medad_jax.weights inceptionresnetv2`) and travel with the
checkpoints, as the forest does.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np

from medad_jax import interpolation, rng, types
from medad_jax.nets import inception
from medad_jax.ranges import Count, Width
from medad_jax.scoring import forest

_NET = "inceptionresnetv2"


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of Deep-IF.

  Attributes:
    weights: "imported", or "random" to try the program without them.
    layer: whose features the forest sees; "concat" for those of all layers.
    side: pixels of a side that images are resized to, as Pillow does it.
    rows: training images that the forest may see, the first ones; None for all.
  """

  weights: types.Origin = "imported"
  layer: Literal[
    "concat",
    "conv2d_1a",
    "conv2d_2a",
    "conv2d_2b",
    "maxpool_3a",
    "conv2d_3b",
    "conv2d_4a",
    "maxpool_5a",
    "mixed_5b",
    "mixed_6a",
    "mixed_7a",
    "conv2d_7b",
  ] = "concat"
  side: Width = 299
  rows: Count | None = None

  score_names = ("forest",)

  def phases(self):
    """ "features", which are not trained, then "forest"."""
    features = types.Pretrained("features", self.init, {_NET: self.weights})
    # Where there are fewer images, all of them are seen.
    pool = types.Pool("normal", {"train": self.rows}, truncate=True)
    fit = types.Fit(
      "forest",
      (pool,),
      self.features,
      estimate,
      reads=("features",),
      draws=True,
    )
    return (features, fit)

  def init(self, key, image_shape):
    """The net of one member, under "inceptionresnetv2"."""
    del image_shape
    image = jnp.zeros((1, self.side, self.side, 3))
    made = self.net().init(rng.stream(key, _NET), image)
    # The running statistics are ImageNet's; nothing updates them.
    return {_NET: made["params"]}, {_NET: made["batch_stats"]}

  def net(self) -> inception.InceptionResNetV2:
    """The network up to the last layer that is needed."""
    concat = self.layer == "concat"
    return inception.InceptionResNetV2(
      inception.LAYERS if concat else (self.layer,)
    )

  def features(self, states, batch):
    """[b d]: the layers' means, one layer after another."""
    image = batch["image"]
    # The published code resizes the picture, so the result is whole levels.
    levels = jnp.round((image / 2 + 0.5) * 255).astype(jnp.int32)
    levels = interpolation.pillow_bilinear(levels, self.side)
    image = levels.astype(image.dtype) / 127.5 - 1
    # Gray images are repeated.
    image = jnp.broadcast_to(image, (*image.shape[:3], 3))
    state = states["features"]
    variables = {
      "params": state.params[_NET],
      "batch_stats": state.extra[_NET],
    }
    out = self.net().apply(variables, image)
    return jnp.concatenate([out[k] for k in inception.LAYERS if k in out], -1)

  def predict(self, states, batch):
    """ "forest" [b], and "latent", the features."""
    found = self.features(states, batch)
    score = forest.anomaly(states["forest"].params, found)
    return {"forest": score, "latent": found}

  def score(self, preds, batch, fitted):
    """ "forest": the only member's."""
    del batch, fitted
    return types.Scores({"forest": jnp.mean(preds["forest"], 0)}, {})


def estimate(batches, seed):
  """The forest of a stream of features [n d]."""
  # All at once, as each tree draws its rows: 23 kB an image with "concat".
  return forest.fit(np.concatenate(list(batches)), seed)
