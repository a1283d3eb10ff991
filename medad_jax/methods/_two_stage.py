"""The two-stage methods' common part: a classifier, then a density.

As the official code of MedIAnomaly (Cai et al., Medical Image Analysis 2025,
arXiv 2404.04518), which follows AnatPaste's: a randomly initialized ResNet18
and a projection head learn to tell images from images with anomalies, both with
the same color jitter. Then a density of the features of all training images is
fitted, and the distance from it is the score. Only the first 3,000 training
images train the classifier. The learning rate lags its cosine by one epoch.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray
import numpy as np

from medad_jax import losses, rng, steps, types
from medad_jax.augment.jitter import jitter
from medad_jax.methods import _net
from medad_jax.nets.projection import Projection
from medad_jax.ranges import Depth, Members, Width
from medad_jax.scoring import density, monitors
from medad_jax.training import Length, Optimizer, Schedule
from medad_jax.weights import layout, names

# (key, image, its part of the batch) -> the image with an anomaly; RGB, whole
# numbers in 0 .. 255; ONE example.
View = Callable[
  [PRNGKeyArray, Float[Array, "h w c"], Mapping[str, Array]],
  Float[Array, "h w c"],
]
_DENSITIES = {
  "gaussian": (density.gaussian, density.mahalanobis),
  "kernel": (density.kernel, density.kernel_score),
}


@dataclasses.dataclass(frozen=True)
class Densities:
  """A density of features, and the distance from it.

  Attributes:
    density: "gaussian" (mean and Ledoit-Wolf covariance; the distance is
      Mahalanobis's) or "kernel" (Gaussian kernels of width 1; minus the log
      density).
    inverse: of the Gaussian's covariance, "cutoff" (as published) or "full";
      `density.gaussian` says what they do to the score.
    members: nets trained, with different random numbers.
  """

  density: Literal["gaussian", "kernel"] = "gaussian"
  inverse: Literal["cutoff", "full"] = "cutoff"
  members: Members = 1

  def embed(
    self, states: Mapping[str, types.TrainState], batch: types.Batch
  ) -> Float[Array, "b d"]:
    """The features of images, of length 1."""
    raise NotImplementedError

  def fit(self, stage: str) -> types.Fit:
    """The stage "density", on all normal images, after `stage`."""
    pools = (types.NORMAL,) * self.members
    estimate: Callable[..., dict[str, np.ndarray]] = _DENSITIES[self.density][0]
    options = {"inverse": self.inverse} if self.density == "gaussian" else {}

    def of_stream(batches):
      # All at once: 512 numbers an image are 200 MB for 100,000 images.
      return estimate(np.concatenate(list(batches)), **options)

    return types.Fit("density", pools, self.embed, of_stream, (stage,))

  def distance(
    self, states: Mapping[str, types.TrainState], features: Float[Array, "b d"]
  ) -> Float[Array, "b"]:
    """Distance of features from the fitted density."""
    return _DENSITIES[self.density][1](states["density"].params, features)


@dataclasses.dataclass(frozen=True)
class TwoStage(Densities):
  """Trains members apart and scores with the mean of their scores.

  A method defines `views`.

  Attributes:
    layers: of 8 * width units in the projection head, before its last one of
      2 * width.
    width: channels of ResNet18's first stage.
    precision: of the net (`_net.py`).
    length: of the classifier's training.
    optimizer: of the classifier's training.
  """

  layers: Depth = 1
  width: Width = 64
  precision: _net.Precision = "float32"
  length: Length = Length(
    # The official code counts 256 steps as an epoch, whatever the set's size.
    epochs=100,
    batch_size=64,
    pass_rows=3000,
    epoch_steps=256,
  )
  optimizer: Optimizer = Optimizer(
    algorithm="sgd",
    learning_rate=0.03,
    momentum=0.9,
    weight_decay=3e-5,
    schedule=Schedule("cosine", final_rate=0.0, lag=1),
  )

  score_names = ("classifier", "distance")

  def views(self) -> tuple[View, ...]:
    """The views that make the classes 1, 2, ... of an image, itself class 0."""
    raise NotImplementedError

  def phases(self) -> tuple[types.Phase | types.Fit, ...]:
    """ "train", the classifier, then "density"."""
    phase = types.Phase(
      "train",
      self.length,
      (types.NORMAL,) * self.members,
      self.init,
      steps.Descend(self.loss, self.optimizer),
      monitors={
        "synthetic": monitors.auroc(self.validate),
        "validation_loss": monitors.mean(self.validation_loss),
      },
      # XLA's convolutions with gradients are several times slower inside a loop
      # on CPUs.
      looped=False,
    )
    return (phase, self.fit("train"))

  def files(self, shape: tuple[int, int, int]) -> tuple[layout.File, ...]:
    """The classifier of each member; its density is estimated anew."""
    del shape
    table = layout.under("train/net", names.projection(self.layers))
    return (layout.model(table, self.members),)

  def init(self, key, image_shape):
    """Parameters and running statistics of one member, under "net"."""
    net = self.net(types.Axis())
    return _net.init(net, key, jnp.zeros((1, *image_shape)))

  def net(self, axis: types.Axis) -> Projection:
    """The classifier."""
    return Projection(axis, 1 + len(self.views()), self.layers, self.width)

  def loss(self, params, extra, batch, context):
    """Cross-entropy of all views; see `types.Loss`."""
    keys = rng.per_example(rng.stream(context.key, "views"), batch["slot"])
    views = self.batch_views(keys, batch)
    # One pass of all classes: batch statistics of a class by itself would give
    # the class away.
    out, extra = _net.train(
      self.net(context.axis),
      params,
      extra,
      from_levels(jnp.concatenate(views)),
      precision=self.precision,
    )
    # In the order of the concatenation: all of class 0, then of class 1, ...
    label = jnp.repeat(jnp.arange(len(views)), len(keys))
    loss = jnp.mean(losses.cross_entropy(out["logits"], label))
    return loss, (extra, {})

  def batch_views(
    self, keys: Key[Array, "b"], batch: types.Batch
  ) -> list[Float[Array, "b h w c"]]:
    """Jittered images, then their views, in gray levels."""
    image = to_levels(batch["image"])
    # Before the views are made, so colors cannot tell the classes apart.
    jittered = jax.vmap(lambda key, x: jitter(rng.stream(key, "all"), x))(
      keys, image
    )
    return [
      jittered,
      *(
        jax.vmap(view)(
          jax.vmap(rng.stream, (0, None))(keys, f"{k}"), jittered, batch
        )
        for k, view in enumerate(self.views())
      ),
    ]

  def examples(
    self, keys: Key[Array, "b"], batch: types.Batch
  ) -> dict[str, Float[Array, "b h w c"]]:
    """Synthetic anomalies as columns of pictures, images in [0, 1]."""
    jittered, *views = self.batch_views(keys, batch)
    named = {f"class {k}": view for k, view in enumerate(views, 1)}
    columns = {"image": to_levels(batch["image"]), "class 0": jittered, **named}
    return {name: column / 255 for name, column in columns.items()}

  def outputs(
    self, state: types.TrainState, image: Float[Array, "b h w c"]
  ) -> dict[str, Array]:
    """A trained net's outputs for images in [-1, 1]."""
    return _net.test(
      self.net(types.Axis()),
      state.params,
      state.extra,
      image,
      precision=self.precision,
    )

  def embed(self, states, batch):
    """Features before the head."""
    out = self.outputs(states["train"], batch["image"])
    # Of length 1, as the official code's, when fitted and when tested.
    return density.normalize(out["embedding"])

  def predict(self, states, batch):
    """ "classifier" and "distance", each [b], and "latent", the features."""
    out = self.outputs(states["train"], batch["image"])
    features = density.normalize(out["embedding"])
    return {
      "classifier": _not_normal(out["logits"]),
      "distance": self.distance(states, features),
      "latent": features,
    }

  def score(self, preds, batch, fitted):
    """ "classifier": 1 - probability of class 0; "distance"; means."""
    del batch, fitted
    image = {name: jnp.mean(preds[name], 0) for name in self.score_names}
    return types.Scores(image, {})

  def synthesize(
    self, keys: Key[Array, "b"], batch: types.Batch
  ) -> Float[Array, "b h w c"]:
    """The first view of each image, in [-1, 1], without jitter."""
    image = to_levels(batch["image"])
    return from_levels(jax.vmap(self.views()[0])(keys, image, batch))

  def validate(self, state, batch, key):
    """The classifier's scores of images, and of the mean of their views."""
    normal, *made = map(_not_normal, self._held_out(state, batch, key))
    return {"normal": normal, "synthetic": jnp.mean(jnp.stack(made), 0)}

  def validation_loss(self, state, batch, key):
    """ "loss": the mean cross-entropy of images and their views."""
    each = [
      losses.cross_entropy(logits, jnp.full(len(logits), label))
      for label, logits in enumerate(self._held_out(state, batch, key))
    ]
    return {"loss": jnp.mean(jnp.stack(each), 0)}

  def _held_out(self, state, batch, key) -> list[Float[Array, "b c"]]:
    """Logits of images, then of each kind of view of them."""
    keys = rng.per_example(key, batch["slot"])
    image = to_levels(batch["image"])
    # Without jitter, as test images have none.
    made = [jax.vmap(view)(keys, image, batch) for view in self.views()]
    return [
      self.outputs(state, from_levels(levels))["logits"]
      for levels in (image, *made)
    ]


def to_levels(image: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
  """Whole numbers in 0 .. 255 from [-1, 1]."""
  # Rounded: after float32 the numbers are not quite whole.
  return jnp.round((image / 2 + 0.5) * 255)


def from_levels(levels: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
  """[-1, 1] from gray levels."""
  return levels / 127.5 - 1


def _not_normal(logits):
  # With several kinds of anomaly, their probabilities add up.
  return 1 - jax.nn.softmax(logits)[:, 0]
