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
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from medad_jax import interpolation, rng, types
from medad_jax.nets import inception
from medad_jax.ranges import Count, Width
from medad_jax.scoring import forest

_NET = "inceptionresnetv2"
Layer = Literal[
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
]


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of Deep-IF.

  Attributes:
    weights: "imported", or "random" to try the program without them.
    layer: whose features the forest sees; "concat" for those of all layers.
    compared: layers that have forests and scores of their own, in place of
      that one forest.
    side: pixels of a side that images are resized to, as Pillow does it.
    rows: training images that the forest may see, the first ones; None for all.
  """

  weights: types.Origin = "imported"
  layer: Layer = "concat"
  compared: tuple[Layer, ...] = ()
  side: Width = 299
  rows: Count | None = None

  # A search over layers is one run, as they share a network.
  along: ClassVar[types.Along] = types.Along("layer", "compared", "forest_{}")

  @property
  def score_names(self):
    """ "forest", or "forest_LAYER" of each layer that is compared."""
    return tuple(self._columns)

  @property
  def _layers(self):
    """The network's layers whose features are needed, in its order."""
    named = self.compared or (self.layer,)
    if "concat" in named:
      return inception.LAYERS
    return tuple(name for name in inception.LAYERS if name in named)

  @property
  def _columns(self):
    """The features that each score's forest sees."""
    if not self.compared:
      return {"forest": slice(None)}
    counts = [inception.CHANNELS[name] for name in self._layers]
    ends = np.cumsum(counts).tolist()
    of = {
      name: slice(end - count, end)
      for name, end, count in zip(self._layers, ends, counts, strict=True)
    } | {"concat": slice(None)}
    return {f"forest_{name}": of[name] for name in self.compared}

  def phases(self):
    """ "features", which are not trained, then "forest"."""
    features = types.Pretrained("features", self.init, {_NET: self.weights})
    # Where there are fewer images, all of them are seen.
    pool = types.Pool("normal", {"train": self.rows}, truncate=True)
    fit = types.Fit(
      "forest",
      (pool,),
      self.features,
      self.estimate,
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
    return inception.InceptionResNetV2(self._layers)

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

  def estimate(self, batches, seed):
    """The forests of a stream of features [n d], by score."""
    # All at once, as each tree draws its rows: 23 kB an image with "concat".
    seen = np.concatenate(list(batches))
    return {
      name: forest.fit(seen[:, columns], seed)
      for name, columns in self._columns.items()
    }

  def predict(self, states, batch):
    """The scores [b], and "latent", the features."""
    found = self.features(states, batch)
    trees = states["forest"].params
    scores = {
      name: forest.anomaly(trees[name], found[:, columns])
      for name, columns in self._columns.items()
    }
    return scores | {"latent": found}

  def score(self, preds, batch, fitted):
    """The scores of the only member."""
    del batch, fitted
    return types.Scores(
      {name: jnp.mean(preds[name], 0) for name in self.score_names}, {}
    )
