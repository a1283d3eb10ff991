"""What methods share that learn to segment synthetic anomalies.

As the official code of MedIAnomaly (Cai et al., Medical Image Analysis 2025,
arXiv 2404.04518), which follows NSA's for chest X-rays: images have the shorter
side resized and are grey; training sees random views of 7/8 of the side, tests
the middle one, and the ring around it scores 0. Every training image has
anomalies. The source of an image's patches is any other one of the pool; there
it is the one before in the batch.

Images that are not square lose their ends when they are loaded, before the
training view's crop; the official code crops once. At ISIC's 341x256 pixels the
two roundings put training views one pixel further left than there; test views
agree. On BraTS the official best Dice is of maps shrunk to 64x64 by cubic
splines, at about 100 thresholds. Here it is of the whole maps, at about 200.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt8

from medad_jax import losses, rng, steps, types
from medad_jax.augment import frame, synthesis
from medad_jax.methods import _net
from medad_jax.nets.encoder_decoder import STRIDES, EncoderDecoder
from medad_jax.ranges import Members, Width
from medad_jax.scoring import discrepancy, monitors
from medad_jax.training import Length, Optimizer, Schedule


@dataclasses.dataclass(frozen=True)
class OneStage:
  """Members are trained apart; their mean map scores.

  Attributes:
    recipe: how anomalies are made.
    width: channels of the net's first stage.
    members: nets trained on the normal pool, with different random numbers.
    precision: of the net (`_net.py`).
    length: of the training.
    optimizer: of the training.
  """

  recipe: synthesis.Recipe = synthesis.NSA
  width: Width = 64
  members: Members = 1
  precision: _net.Precision = "float32"
  length: Length = Length(epochs=250, batch_size=64, drop_last=False)
  optimizer: Optimizer = Optimizer(
    learning_rate=1e-3, schedule=Schedule("cosine", final_rate=1e-6)
  )

  score_names = ("anomaly",)

  def phases(self) -> tuple[types.Phase, ...]:
    """ "train": all members on the normal pool."""
    phase = types.Phase(
      "train",
      self.length,
      (types.NORMAL,) * self.members,
      self.init,
      steps.Descend(self.loss, self.optimizer),
      inputs=types.Inputs(source=not self.recipe.same),
      monitors={"synthetic": monitors.auroc(self.validate)},
      looped=False,
    )
    return (phase,)

  def init(self, key, image_shape):
    """Parameters and running statistics of one member, under "net"."""
    height, width, channels = image_shape
    side = frame.side_of(min(height, width))
    self.recipe.check(side, channels)
    image = _padded(jnp.zeros((1, side, side, channels)))
    return _net.init(self.net(types.Axis()), key, image)

  def net(self, axis: types.Axis) -> EncoderDecoder:
    """The net; its output is a logit or, for raw labels, before a ReLU."""
    return EncoderDecoder(axis, self.width)

  def loss(self, params, extra, batch, context):
    """Of images with anomalies; see `types.Loss`."""
    keys = rng.per_example(rng.stream(context.key, "example"), batch["slot"])
    made = jax.vmap(self.example)(
      keys,
      as_uint8(batch["image"]),
      as_uint8(batch.get("source", batch["image"])),
    )
    out, extra = _net.train(
      self.net(context.axis),
      params,
      extra,
      _padded(made.image / 255),
      precision=self.precision,
    )
    loss = self.objective(_cut(out, made.label), made.label)
    return jnp.mean(loss), (extra, {})

  def example(
    self,
    key: PRNGKeyArray,
    image: UInt8[Array, "h w c"],
    source: UInt8[Array, "h w c"],
  ) -> synthesis.Synthetic:
    """A training view with anomalies from a view of the source."""
    view = self.example_view(key, image)
    other = frame.view(rng.stream(key, "source"), source)
    return synthesis.synthesize(
      rng.stream(key, "synthesis"), view, other, self.recipe
    )

  def examples(
    self, keys: Key[Array, "b"], batch: types.Batch
  ) -> dict[str, Float[Array, "b t t *c"]]:
    """What a person should see of the anomalies; images in [0, 1]."""
    image, source = as_uint8(batch["image"]), as_uint8(batch["source"])
    made = jax.vmap(self.example)(keys, image, source)
    before = jax.vmap(self.example_view)(keys, image)
    columns = {"image": before / 255, "source": frame.center(source) / 255}
    if self.recipe.same:
      del columns["source"]
    return {
      **columns,
      "with anomalies": made.image / 255,
      "label": made.label,
      "change": jnp.abs(made.image - before)[..., 0],
    }

  def example_view(
    self, key: PRNGKeyArray, image: UInt8[Array, "h w c"]
  ) -> UInt8[Array, "t t c"]:
    """The view that an example's anomalies are put into."""
    return frame.view(rng.stream(key, "image"), image)

  def objective(
    self, out: Float[Array, "b h w"], label: Float[Array, "b h w"]
  ) -> Float[Array, "b"]:
    """Cross-entropy with soft labels, or the squared error of raw ones."""
    if self.recipe.label == "raw":
      return losses.squared_error(jax.nn.relu(out), label)
    return losses.binary_cross_entropy(out, label)

  def predict(self, states, batch):
    """The map "anomaly" [b h w], 0 outside the middle view."""
    view = frame.center(batch["image"]) / 2 + 0.5
    return {"anomaly": _around(self.map(states["train"], view), batch["image"])}

  def map(
    self, state: types.TrainState, view: Float[Array, "b t t c"]
  ) -> Float[Array, "b t t"]:
    """What one member sees in views in [0, 1]."""
    out = _net.test(
      self.net(types.Axis()),
      state.params,
      state.extra,
      _padded(view),
      precision=self.precision,
    )
    last = jax.nn.relu if self.recipe.label == "raw" else jax.nn.sigmoid
    return _cut(last(out), view)

  def score(self, preds, batch, fitted):
    """ "anomaly": the mean of the members' mean map."""
    del batch, fitted
    pixels = jnp.mean(preds["anomaly"], 0)
    return types.Scores(
      {"anomaly": discrepancy.image_score(pixels)}, {"anomaly": pixels}
    )

  def validate(self, state, batch, key):
    """Scores of middle views, and of these with anomalies from one another."""
    view = as_uint8(frame.center(batch["image"]))
    other = as_uint8(frame.center(batch["source"]))
    keys = rng.per_example(key, batch["slot"])
    made = jax.vmap(synthesis.synthesize, (0, 0, 0, None))(
      keys, view, other, self.recipe
    )
    images = {"normal": view, "synthetic": made.image}
    return {
      name: discrepancy.image_score(self.map(state, image / 255))
      for name, image in images.items()
    }


def as_uint8(image: Float[Array, "*b h w c"]) -> UInt8[Array, "*b h w c"]:
  """The stored numbers again, from [-1, 1]."""
  return jnp.round((image / 2 + 0.5) * 255).astype(jnp.uint8)


def _padded(image):
  """Black below and to the right, so that the net can halve the sides."""
  rows, columns = (-side % STRIDES for side in image.shape[1:3])
  return jnp.pad(image, ((0, 0), (0, rows), (0, columns), (0, 0)))


def _cut(padded, like):
  """Without what `_padded` added."""
  return padded[:, : like.shape[1], : like.shape[2]]


def _around(pixels, image):
  """The map of the middle view at the size of the image."""
  top, left = (
    round((whole - part) / 2)
    for whole, part in zip(image.shape[1:3], pixels.shape[1:], strict=True)
  )
  canvas = jnp.zeros(image.shape[:3], pixels.dtype)
  return jax.lax.dynamic_update_slice(canvas, pixels, (0, top, left))
