"""The one-stage methods' common part: segmenting synthetic anomalies.

As the official code of MedIAnomaly (Cai et al., Medical Image Analysis 2025,
arXiv 2404.04518), which follows NSA's for chest X-rays: images have the shorter
side resized and are gray; training sees random views of 7/8 of the side, tests
the middle one, and the ring around it scores 0. Every training image has
anomalies. Here the source of an image's patches is any other image of the pool;
in the official code it is the previous one of the batch.

Images that are not square lose their ends when they are loaded, before the
training view's crop; the official code crops once. At ISIC's 341x256 pixels the
two roundings put training views one pixel further left than there; test views
agree. On BraTS the official best Dice is measured on maps shrunk to 64x64 by
cubic splines, at about 100 thresholds. Here the maps are whole, and thresholds
about 200.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt8

from medad_jax import losses, rng, steps, types
from medad_jax.augment.nsa import frame, synthesis
from medad_jax.methods import _net
from medad_jax.nets.encoder_decoder import STRIDES, EncoderDecoder
from medad_jax.ranges import Members, Width
from medad_jax.scoring import discrepancy, monitors
from medad_jax.training import Length, Optimizer, Schedule
from medad_jax.weights import layout, names


@dataclasses.dataclass(frozen=True)
class OneStage:
  """Trains members apart and scores with the mean of their maps.

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
      # CutPaste takes its patches from the image itself.
      inputs=types.Inputs(source=not self.recipe.same),
      monitors={
        "synthetic": monitors.auroc(self.validate),
        "validation_loss": monitors.mean(self.validation_loss),
      },
      # XLA's convolutions with gradients are several times slower inside a loop
      # on CPUs.
      looped=False,
    )
    return (phase,)

  def files(self, shape: tuple[int, int, int]) -> tuple[layout.File, ...]:
    """A `model.pt` of each member; see `layout.Published`."""
    del shape
    table = layout.under("train/net", names.encoder_decoder())
    return (layout.model(table, self.members),)

  def init(self, key, image_shape):
    """Parameters and running statistics of one member, under "net"."""
    height, width, channels = image_shape
    side = frame.side_of(min(height, width))
    self.recipe.check(side, channels)
    # The net sees views, never whole images.
    image = _padded(jnp.zeros((1, side, side, channels)))
    return _net.init(self.net(types.Axis()), key, image)

  def net(self, axis: types.Axis) -> EncoderDecoder:
    """The net; its output is a logit or, for raw labels, before a ReLU."""
    return EncoderDecoder(axis, self.width)

  def loss(self, params, extra, batch, context):
    """The segmentation loss of images with anomalies; see `types.Loss`."""
    keys = rng.per_example(rng.stream(context.key, "example"), batch["slot"])
    made = jax.vmap(self.example)(
      keys,
      as_uint8(batch["image"]),
      # Recipes that are `same` ignore their source, but want an array.
      as_uint8(batch.get("source", batch["image"])),
    )
    out, extra = _net.train(
      self.net(context.axis),
      params,
      extra,
      # The official net sees [0, 1], unlike those that reconstruct.
      _padded(made.image / 255),
      precision=self.precision,
    )
    # What was padded is no part of the view and has no label.
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
    """Synthetic anomalies as columns of pictures, images in [0, 1]."""
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
      # Raw labels are changes in gray levels: they have no upper bound, so
      # there is no sigmoid.
      return losses.squared_error(jax.nn.relu(out), label)
    return losses.binary_cross_entropy(out, label)

  def predict(self, states, batch):
    """The map "anomaly" [b h w], 0 outside the middle view."""
    # [-1, 1] -> [0, 1], as in training.
    view = frame.center(batch["image"]) / 2 + 0.5
    return {"anomaly": _around(self.map(states["train"], view), batch["image"])}

  def map(
    self, state: types.TrainState, view: Float[Array, "b t t c"]
  ) -> Float[Array, "b t t"]:
    """One member's anomaly map of views in [0, 1]."""
    # The same activation as in `objective`.
    last = jax.nn.relu if self.recipe.label == "raw" else jax.nn.sigmoid
    return last(self._out(state, view))

  def _out(self, state, view) -> Float[Array, "b t t"]:
    """The output of a trained net for views, before the activation."""
    out = _net.test(
      self.net(types.Axis()),
      state.params,
      state.extra,
      _padded(view),
      precision=self.precision,
    )
    return _cut(out, view)

  def score(self, preds, batch, fitted):
    """ "anomaly": the mean of the members' mean map."""
    del batch, fitted
    pixels = jnp.mean(preds["anomaly"], 0)
    return types.Scores(
      {"anomaly": discrepancy.image_score(pixels)}, {"anomaly": pixels}
    )

  def validate(self, state, batch, key):
    """Scores of middle views, and of the same views with anomalies."""
    view, made = self._held_out(batch, key)
    images = {"normal": view, "synthetic": made.image}
    return {
      name: discrepancy.image_score(self.map(state, image / 255))
      for name, image in images.items()
    }

  def validation_loss(self, state, batch, key):
    """ "loss" of middle views with anomalies."""
    _, made = self._held_out(batch, key)
    out = self._out(state, made.image / 255)
    return {"loss": self.objective(out, made.label)}

  def _held_out(self, batch, key):
    """Middle views, and the same views with anomalies."""
    # Middle views, as in tests: random crops would make the monitor noisy.
    view = as_uint8(frame.center(batch["image"]))
    other = as_uint8(frame.center(batch["source"]))
    keys = rng.per_example(key, batch["slot"])
    made = jax.vmap(synthesis.synthesize, (0, 0, 0, None))(
      keys, view, other, self.recipe
    )
    return view, made


def as_uint8(image: Float[Array, "*b h w c"]) -> UInt8[Array, "*b h w c"]:
  """The stored numbers again, from [-1, 1]."""
  # Rounded and not cut: after float32 the numbers are not quite whole.
  return jnp.round((image / 2 + 0.5) * 255).astype(jnp.uint8)


def _padded(image):
  """Pads with black below and to the right, so the net can halve the sides."""
  rows, columns = (-side % STRIDES for side in image.shape[1:3])
  return jnp.pad(image, ((0, 0), (0, rows), (0, columns), (0, 0)))


def _cut(padded, like):
  """The array without what `_padded` added."""
  return padded[:, : like.shape[1], : like.shape[2]]


def _around(pixels, image):
  """The map of the middle view at the size of the image."""
  top, left = (
    # The margin of `frame.center`; another rounding would move the map.
    round((whole - part) / 2)
    for whole, part in zip(image.shape[1:3], pixels.shape[1:], strict=True)
  )
  canvas = jnp.zeros(image.shape[:3], pixels.dtype)
  return jax.lax.dynamic_update_slice(canvas, pixels, (0, top, left))
