"""The reconstruction methods' common part: one net that reproduces images."""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from medad_jax import losses, rng, steps, types
from medad_jax.augment import paste
from medad_jax.methods import _constraint, _net
from medad_jax.nets import autoencoder
from medad_jax.ranges import Depth, Members, Width
from medad_jax.scoring import discrepancy, monitors
from medad_jax.training import Length, Optimizer
from medad_jax.weights import layout, names
from medad_jax.weights.conversion import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction:
  """Trains members apart and compares images with their mean reconstruction.

  A method overrides `net`, `corrupt` (the net's input in training), `objective`
  (its loss) or `error` (the pixel map).

  Attributes:
    members: nets trained on the normal pool, with different random numbers.
    precision: of the net (`_net.py`).
    length: of the training.
    optimizer: of the training.
  """

  members: Members = 1
  precision: _net.Precision = "float32"
  length: Length = Length(epochs=250, batch_size=64)
  # DDAD-ASR's; MedIAnomaly's rate and batch size are in configs/.
  optimizer: Optimizer = Optimizer(learning_rate=5e-4, b1=0.5)

  looped: ClassVar[bool] = True  # see `types.Phase`
  # Fields that mean nothing in a backbone: the method around it decides.
  alone: ClassVar[tuple[str, ...]] = ("members", "length", "optimizer")

  def net(self, axis: types.Axis) -> nn.Module:
    """The net, called with (image, train); returns at least "x_hat"."""
    raise NotImplementedError

  def corrupt(
    self, batch: types.Batch, context: types.Context
  ) -> Float[Array, "b h w c"]:
    """The net's input in training: here the image itself."""
    del context
    return batch["image"]

  def objective(
    self, out: Mapping[str, Array], image: Float[Array, "b h w c"]
  ) -> tuple[Float[Array, ""], types.Metrics]:
    """The loss of the net's outputs, and its parts: the squared error."""
    return jnp.mean(losses.squared_error(out["x_hat"], image)), {}

  def error(
    self,
    image: Float[Array, "b h w c"],
    x_hat: Float[Array, "b h w c"],
    variance: Float[Array, "b h w c"] | None,
  ) -> Float[Array, "b h w"]:
    """The pixel map: the squared error, over the variance if there is one."""
    return discrepancy.error_map(image, x_hat, variance)

  def init(
    self, key: PRNGKeyArray, image_shape: tuple[int, int, int]
  ) -> tuple[Any, Any]:
    """Parameters and running statistics of one member, under "net"."""
    return _net.init(self.net(types.Axis()), key, jnp.zeros((1, *image_shape)))

  def loss(
    self, params: Any, extra: Any, batch: types.Batch, context: types.Context
  ) -> tuple[Float[Array, ""], tuple[Any, types.Metrics]]:
    """See `types.Loss`."""
    image = self.corrupt(batch, context)
    out, extra = self.apply(params, extra, image, context)
    loss, metrics = self.objective(out, batch["image"])
    return loss, (extra, metrics)

  def validation_loss(
    self, state: types.TrainState, batch: types.Batch, key: PRNGKeyArray
  ) -> dict[str, Float[Array, "b"]]:
    """ "error" of held-out images: the mean of each one's pixel map."""
    del key
    return {"error": self._own_score(state, batch["image"])}

  def validate(
    self, state: types.TrainState, batch: types.Batch, key: PRNGKeyArray
  ) -> dict[str, Float[Array, "b"]]:
    """Scores of "normal" images, and of "synthetic" ones with a square each."""
    keys = rng.per_example(key, batch["slot"])
    # Every image: whatever stayed as it is would count as an anomaly, too.
    made, _ = jax.vmap(lambda *one: paste.paste(*one, chance=1.0))(
      keys, batch["image"], batch["source"]
    )
    images = {"normal": batch["image"], "synthetic": made}
    return {name: self._own_score(state, x) for name, x in images.items()}

  def _own_score(self, state, image) -> Float[Array, "b"]:
    """The mean pixel map of one member."""
    # The whole image: `corrupt` belongs to training.
    preds = self.reconstruct(state, image)
    variance = jnp.exp(preds["log_var"]) if "log_var" in preds else None
    error = self.error(image, preds["x_hat"], variance)
    return discrepancy.image_score(error)

  @property
  def score_names(self) -> tuple[str, ...]:
    """ "rec_k" of each of several members, then "rec" of all."""
    single = range(self.members if self.members > 1 else 0)
    return (*(f"rec_{k}" for k in single), "rec")

  def phases(self) -> tuple[types.Phase, ...]:
    """ "train": all members on the normal pool."""
    phase = types.Phase(
      "train",
      self.length,
      (types.NORMAL,) * self.members,
      self.init,
      self.step(),
      monitors={
        "validation_loss": monitors.mean(self.validation_loss),
        "synthetic": monitors.auroc(self.validate),
      },
      looped=self.looped,
      # More members leave the others as they are.
      made_of=dataclasses.replace(self, members=1),
    )
    return (phase,)

  def table(self) -> Table:
    """PyTorch's names of the net's modules."""
    raise NotImplementedError

  def files(self, shape: tuple[int, int, int]) -> tuple[layout.File, ...]:
    """A `model.pt` of each member; see `layout.Published`."""
    del shape
    table = layout.under("train/net", self.table())
    return (layout.model(table, self.members),)

  def step(self) -> types.Step:
    """One member's step: down the gradient of `loss`."""
    return steps.Descend(self.loss, self.optimizer)

  def predict(
    self, states: Mapping[str, types.TrainState], batch: types.Batch
  ) -> types.Preds:
    """The output of `reconstruct`, and whatever further scores need."""
    return self.reconstruct(states["train"], batch["image"])

  def reconstruct(
    self, state: types.TrainState, image: Float[Array, "b h w c"]
  ) -> types.Preds:
    """ "x_hat", and "log_var" and "latent" where the net has them."""
    out = self.outputs(state, image)
    names = ("x_hat", "log_var", "latent")
    return {name: out[name] for name in names if name in out}

  def outputs(
    self,
    state: types.TrainState,
    image: Float[Array, "b h w c"],
    *more: Array,
  ) -> dict[str, Array]:
    """The net's outputs for images, and for more inputs, in test mode."""
    return _net.test(
      self.net(types.Axis()),
      state.params,
      state.extra,
      image,
      *more,
      precision=self.precision,
    )

  def score(
    self,
    preds: types.Preds,
    batch: types.Batch,
    fitted: Mapping[str, types.TrainState],
  ) -> types.Scores:
    """ "rec_k" of each of several members, "rec" of their mean."""
    del fitted
    # Averaged before the comparison (DDAD, section 3.2): the mean of the
    # members' errors would be another score.
    x_hat = jnp.mean(preds["x_hat"], 0)
    variance = discrepancy.mean_variance(preds)
    rec = self.error(batch["image"], x_hat, variance)
    image = {"rec": discrepancy.image_score(rec)}
    # "rec_0" of a single member would be "rec" again.
    if self.members > 1:
      image |= self._member_scores(batch["image"], preds)
    return types.Scores(image, {"rec": rec}, x_hat)

  def _member_scores(self, image, preds) -> dict[str, Float[Array, "b"]]:
    return {
      f"rec_{k}": discrepancy.image_score(
        self.error(image, x_hat, _variance_of(preds, k))
      )
      for k, x_hat in enumerate(preds["x_hat"])
    }

  def apply(
    self,
    params: Any,
    extra: Any,
    image: Float[Array, "b h w c"],
    context: types.Context,
    *more: Array,
    **options: Any,
  ) -> tuple[dict[str, Array], Any]:
    """The net in training: its outputs and the new running statistics."""
    return _net.train(
      self.net(context.axis),
      params,
      extra,
      image,
      *more,
      precision=self.precision,
      **options,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding(Reconstruction):
  """A reconstruction from a code, which a constraint may shape.

  Attributes:
    constraint: on the code, added to the error.
  """

  constraint: _constraint.Constraint = _constraint.Constraint()

  @property
  def code_length(self) -> int:
    """Length of the code, or channels of a map of codes."""
    raise NotImplementedError

  def phases(self) -> tuple[types.Phase, ...]:
    """ "train": all members on the normal pool."""
    (phase,) = super().phases()
    init = self.constraint.init(self.init, self.code_length)
    inputs = self.constraint.inputs()
    return (dataclasses.replace(phase, init=init, inputs=inputs),)

  def files(self, shape):
    """A `model.pt` of each member, which may lack the constraint's heads."""
    return tuple(map(self.constraint.beside, super().files(shape)))

  def loss(self, params, extra, batch, context):
    """See `types.Loss`."""
    batch = self.constraint.mixed(batch, context)
    image = self.corrupt(batch, context)
    out, new = self.apply(params, extra, image, context)
    loss, metrics = self.objective(out, batch["image"])
    term, parts = self.constraint.term(
      params, extra, out["latent"], batch, context.axis
    )
    return loss + term, ({**extra, **new}, {**metrics, **parts})


@dataclasses.dataclass(frozen=True)
class Autoencoding(Coding):
  """A reconstruction by the convolutional autoencoder and its relatives.

  Attributes:
    width: channels of the net's first layer.
    latent: length of the code.
    hidden: width of the dense layers around the code.
    down_depth: convolutions a level of the encoder.
    up_depth: convolutions a level of the decoder.
  """

  width: Width = 16
  latent: Width = 16
  hidden: Width = 2048
  down_depth: Depth = 1
  up_depth: Depth = 1

  @property
  def code_length(self) -> int:
    """Length of the code, or channels of a map of codes."""
    return self.latent

  def net(self, axis: types.Axis) -> nn.Module:
    """The net, called with (image, train); returns at least "x_hat"."""
    return self.autoencoder(axis)

  def table(self):
    """MedIAnomaly's names."""
    return names.autoencoder(self.down_depth, self.up_depth)

  def autoencoder(
    self, axis: types.Axis, **options: Any
  ) -> autoencoder.Autoencoder:
    """The autoencoder of these sizes."""
    return autoencoder.Autoencoder(
      self.width,
      self.latent,
      self.hidden,
      self.down_depth,
      self.up_depth,
      axis=axis,
      **options,
    )


@dataclasses.dataclass(frozen=True)
class SeveralScores(Autoencoding):
  """A reconstruction whose one training gives further scores.

  `predict` returns their maps [b h w] by name, beside "x_hat".

  Attributes:
    headline: the score that comes last, "rec" or one of `OTHERS`.
  """

  OTHERS: ClassVar[tuple[str, ...]]
  alone = (*Autoencoding.alone, "headline")

  headline: str = "rec"

  def __post_init__(self):
    if self.headline not in self._names():
      raise types.UserError(
        f"model.headline='{self.headline}' is no score of this method; choose"
        f" one of {', '.join(self._names())}"
      )

  @property
  def score_names(self) -> tuple[str, ...]:
    """Scores of the base and the others, the headline last."""
    rest = (name for name in self._names() if name != self.headline)
    # By convention the last score is the headline.
    return (*rest, self.headline)

  def _names(self) -> tuple[str, ...]:
    return (*super().score_names, *self.OTHERS)

  def score(self, preds, batch, fitted) -> types.Scores:
    """The base's scores, and the others' maps as means over members."""
    scores = super().score(preds, batch, fitted)
    # Every member has a gradient of its own; the mean reconstruction has none.
    pixels = {name: jnp.mean(preds[name], 0) for name in self.OTHERS}
    image = {
      name: discrepancy.image_score(map_) for name, map_ in pixels.items()
    }
    return types.Scores(
      {**scores.image, **image},
      {**scores.maps, **pixels},
      scores.reconstruction,
    )


def member_scores(
  image: Float[Array, "b h w c"], preds: types.Preds
) -> dict[str, Float[Array, "b"]]:
  """Image scores "rec_0", "rec_1", ... of the members by themselves."""
  scores = jax.vmap(discrepancy.image_score)(
    discrepancy.member_maps(image, preds)
  )
  return {f"rec_{k}": score for k, score in enumerate(scores)}


def input_gradient(
  value: Callable[[Float[Array, "b h w c"]], Float[Array, "b"]],
  image: Float[Array, "b h w c"],
) -> Float[Array, "b h w c"]:
  """The derivative of each image's own value by its pixels.

  Images must not see each other in `value`, as in a net that is tested: then
  the gradient of the sum holds that of each.
  """
  # One backward pass of the batch. vmap of the gradient would send images
  # through the net one by one.
  return jax.grad(lambda x: jnp.sum(value(x)))(image)


def _variance_of(preds, k):
  return jnp.exp(preds["log_var"][k]) if "log_var" in preds else None
