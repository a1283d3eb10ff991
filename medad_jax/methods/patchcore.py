"""PatchCore: distances from features of normal images, with nothing to train.

Paper: Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR
2022, arXiv 2106.08265; its reweighting of the maximum is left out. Scored: the
distances of an image's patches from a coreset of normal ones ("patch_max",
"patch_mean"), of its pooled features from the nearest normal images ("knn"),
and of its patches from a Gaussian at each position ("padim"; Defard et al.,
ICPR 2021 workshops). The headline, "combined", is the sum of "knn", "patch_max"
and "patch_mean", each standardized on normal images that the bank lacks.

The weights of EfficientNet-lite0 come with a package; those of the other nets
are imported (`python -m medad_jax.weights resnet18`). They travel with the
checkpoints. The fit has no random seed: several give the same.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from medad_jax import rng, types
from medad_jax.nets import backbones
from medad_jax.ranges import Count, Draws
from medad_jax.scoring import neighbors, positions

# The normal images that make the bank, and those that it is judged by.
BANK = types.Pool("bank", {"train": None}, folds=(0, 1, 2, 3), of=5)
HELD_OUT = types.Pool("standard", {"train": None}, folds=(4,), of=5)
_SUMMED = ("knn", "patch_max", "patch_mean")


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of PatchCore.

  Attributes:
    net: what makes the features.
    weights: "imported", or "random" to try the program without them.
    layers: of the net, whose features make patches, the finest first; none for
      its usual ones.
    pooled: layer whose mean makes an image's vector; "" for the usual one.
    sampled: patches of all normal images, from which the coreset is chosen.
    coreset: patches that are kept.
    vectors: images whose vectors are kept.
    neighbors: images whose mean distance is "knn".
    dimensions: of the features that "padim" sees, chosen at random.
  """

  net: Literal[
    "efficientnet_lite0", "resnet18", "vgg19", "dinov2_base", "rad_dino"
  ] = "efficientnet_lite0"
  weights: types.Origin = "imported"
  layers: tuple[str, ...] = ()
  pooled: str = ""
  sampled: Count = 40_000
  coreset: Count = 4_000
  vectors: Count = 20_000
  neighbors: Draws = 5
  dimensions: Count = 100

  score_names = ("padim", *_SUMMED, "combined")

  def phases(self):
    """ "features", not trained, then "bank" and "standard"."""
    return (
      types.Pretrained("features", self.init, {self.net: self.weights}),
      types.Fit(
        "bank",
        (BANK,),
        self.features,
        self.fill,
        ("features",),
        spreads=True,
      ),
      types.Fit(
        "standard",
        (HELD_OUT,),
        self.summands,
        standardization,
        ("features", "bank"),
      ),
    )

  def init(self, key, image_shape):
    """The net up to the layers that are used."""
    backbone, names = self._backbone(), self._layers()
    backbone.check(names)
    # The net's shapes do not depend on the image's, but it may refuse these.
    image = jnp.zeros((1, *image_shape[:2], 3))
    made = backbone.module(names).init(rng.stream(key, self.net), image)
    params, statistics = made["params"], made.get("batch_stats", {})
    # The running statistics are ImageNet's; nothing updates them.
    return {self.net: params}, {self.net: statistics}

  def features(self, states, batch):
    """ "vector" [b d] of each image and "patches" [b y x d]."""
    backbone, names = self._backbone(), self._layers()
    state = states["features"]
    variables = {
      "params": state.params[self.net],
      "batch_stats": state.extra[self.net],
    }
    image = backbone.preprocess(batch["image"])
    *found, last = (
      backbone.module(names).apply(variables, image)[name] for name in names
    )
    return {
      "vector": jnp.mean(last, (1, 2)),
      "patches": backbones.patches(found),
    }

  def fill(self, batches, spread):
    """The bank: a coreset of patches, vectors, and a Gaussian a position."""
    patches = neighbors.Reservoir(self.sampled)
    vectors = neighbors.Reservoir(self.vectors)
    moments, chosen = positions.Moments(), np.zeros(0, int)
    for found in batches:
      vectors.add(found["vector"])
      flat = found["patches"].reshape(len(found["vector"]), -1, depth(found))
      patches.add(flat.reshape(-1, depth(found)))
      chosen = self._chosen(depth(found))
      moments.add(flat[:, :, chosen])
    sample = patches.rows()
    size = min(self.coreset, len(sample))
    choose = functools.partial(neighbors.coreset, size=size)
    rows, _ = spread(choose, sample)
    return {
      "coreset": sample[rows],
      "vectors": vectors.rows(),
      "chosen": chosen.astype(np.int32),
      **moments.estimate(),
    }

  def distances(self, states, batch):
    """ "vector", "knn" and the maps "patch" and "padim" [b y x]."""
    found, bank = self.features(states, batch), states["bank"].params
    maps = found["patches"].shape[:3]
    flat = found["patches"].reshape(maps[0], -1, depth(found))
    count = min(self.neighbors, len(bank["vectors"]))
    # One block: the images' vectors are few.
    near = neighbors.nearest(bank["vectors"], found["vector"][None], count)
    patch = neighbors.nearest(bank["coreset"], flat)
    padim = positions.mahalanobis(bank, flat[:, :, bank["chosen"]])
    return {
      "latent": found["vector"],
      "knn": jnp.mean(near[0], -1),
      "patch": patch.reshape(maps),
      "padim": padim.reshape(maps),
    }

  def summands(self, states, batch):
    """The scores that make the combined one, side by side [b 3]."""
    return _summands(self.distances(states, batch))

  def predict(self, states, batch):
    """The distances, and "combined" [b]."""
    found = self.distances(states, batch)
    standard = states["standard"].params
    gaps = (_summands(found) - standard["mean"]) / standard["deviation"]
    return found | {"combined": jnp.sum(gaps, -1)}

  def score(self, preds, batch, fitted):
    """Scores and, of "padim" and "combined", maps of the images' sides."""
    del fitted
    found = {name: jnp.mean(value, 0) for name, value in preds.items()}
    sides = batch["image"].shape[1:3]
    maps = {
      "padim": _upsample(found["padim"], sides),
      "combined": _upsample(found["patch"], sides),
    }
    summands = _summands(found)
    scores = {
      "padim": jnp.max(found["padim"], (1, 2)),
      **{name: summands[:, k] for k, name in enumerate(_SUMMED)},
      "combined": found["combined"],
    }
    return types.Scores(scores, maps)

  def _backbone(self) -> backbones.Backbone:
    return backbones.BACKBONES[self.net]

  def _layers(self) -> tuple[str, ...]:
    """Layers of the patches, and last the pooled one."""
    usual = self._backbone()
    return (*(self.layers or usual.patches), self.pooled or usual.pooled)

  def _chosen(self, channels: int) -> np.ndarray:
    """Features that "padim" sees, always the same."""
    order = np.random.RandomState(0).permutation(channels)
    return np.sort(order[: self.dimensions])


def standardization(batches) -> dict[str, np.ndarray]:
  """Mean and deviation of scores of normal images, each [s].

  Raises:
    UserError: fewer than two images.
  """
  found = np.concatenate(list(batches)).astype(np.float64)
  if len(found) < 2:
    raise types.UserError(
      "scores are standardized on a fifth of the normal images to train on: at"
      f" least two are wanted, and that is {len(found)}; give more normal"
      " images, of more patients."
    )
  deviation = np.maximum(found.std(0, ddof=1), 1e-12)
  return {
    "mean": found.mean(0).astype(np.float32),
    "deviation": deviation.astype(np.float32),
  }


def depth(found) -> int:
  """Channels of the patches."""
  return found["patches"].shape[-1]


def _summands(found) -> Float[Array, "b 3"]:
  patch = found["patch"]
  parts = (found["knn"], jnp.max(patch, (1, 2)), jnp.mean(patch, (1, 2)))
  return jnp.stack(parts, -1)


def _upsample(map_, sides):
  return jax.image.resize(map_, (len(map_), *sides), "bilinear")
