"""DDAD-ASR: discrepancies between and within two ensembles, refined.

Paper: Cai et al., "Dual-distribution discrepancy with self-supervised
refinement for anomaly detection in medical images", Medical Image Analysis 86
(2023), arXiv 2210.04227; without refinement MICCAI 2022, arXiv 2206.03935.

Two ensembles of a backbone are trained: one on normal and unlabeled images
(UDM), one on normal images only (NDM). Scored, for an image and its pixels:
  rec      error of the mean NDM reconstruction (`rec_k`: NDM member k alone)
  inter    |mean UDM - mean NDM|
  intra    deviation among the NDM reconstructions
  r_dual   probability of a net that learned to find pasted anomalies in
           [inter, intra]; r_intra from [intra] alone
With a backbone that predicts variances, rec is divided by the NDM's mean
variance, inter and intra by its root; the UDM's variances are not used.

Kept from the official code, since published numbers rest on it: last partial
batches are dropped; the running variance is the unbiased one; members run on
running statistics while the refinement net trains, also on images with pasted
squares; maps enter it unscaled; deviations divide by k - 1, where the paper
divides by k; the last weights are used, never the best on test images.
Fixed: the number of members is set, not found on disk; one member is refused
(its intra-discrepancy is not a number); every random draw is seeded, and fresh
in every epoch.
"""

from collections.abc import Mapping
import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from medad_jax import losses, rng, steps, types
from medad_jax.augment.paste import paste
from medad_jax.methods import _net, _reconstruction, ae, aeu, memae
from medad_jax.nets.refine import RefineNet
from medad_jax.ranges import Amount, FixedShare, Range, Width
from medad_jax.scoring import discrepancy
from medad_jax.training import Length, Optimizer
from medad_jax.weights import layout, names

# What each refinement net sees, in the order of its channels.
_INPUTS = {"dual": ("inter", "intra"), "intra": ("intra",)}


@dataclasses.dataclass(frozen=True)
class Ensemble:
  """The two ensembles.

  Attributes:
    size: members of each of the two.
  """

  # The intra-discrepancy is a deviation among members: one has none.
  size: Annotated[int, Range(2, 500)] = 3


@dataclasses.dataclass(frozen=True)
class Unlabelled:
  """The images that the UDM sees besides the normal ones.

  Attributes:
    extra: how many; with images of which nothing is known, 0 for all.
    anomaly_ratio: share of them that is abnormal, taken from a set that knows;
      None for images of which nothing is known.
    allow_truncation: takes what there is where `extra` asks for more, as the
      official code does silently.
  """

  section: ClassVar[str] = "data"  # of the configuration

  extra: Amount = 0
  anomaly_ratio: FixedShare | None = 0.6
  allow_truncation: bool = False

  def pool(self) -> types.Pool:
    """The normal images and these; prefixes in list order, as published."""
    if self.anomaly_ratio is None:
      splits = {"train": None, "unlabelled": self.extra or None}
      return types.Pool(
        "mixed", splits, self.allow_truncation, "lower data.extra"
      )
    # Cut and not rounded, as in the official code.
    abnormal = int(self.extra * self.anomaly_ratio)
    wanted = {
      "unlabelled_normal": self.extra - abnormal,
      "unlabelled_abnormal": abnormal,
    }
    return types.Pool(
      "mixed",
      # None: the whole split.
      {"train": None, **wanted},
      self.allow_truncation,
      "lower data.extra, change data.anomaly_ratio or set"
      " data.allow_truncation",
    )


@dataclasses.dataclass(frozen=True)
class Refine:
  """The refinement nets.

  Attributes:
    inputs: which to train, of "dual" and "intra"; none to skip refinement.
    width: channels of their hidden layers.
    length: of the training; 0 epochs skip the refinement.
    optimizer: of the training.
  """

  inputs: tuple[Literal["dual", "intra"], ...] = ("dual",)
  width: Width = 128
  length: Length = Length(epochs=100, batch_size=8)
  optimizer: Optimizer = Optimizer(
    learning_rate=1e-4, b1=0.5, weight_decay=1e-4
  )

  def __post_init__(self):
    if len(set(self.inputs)) < len(self.inputs):
      raise types.UserError(
        f"refine.inputs={self.inputs} was given; name each input once."
      )


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of DDAD-ASR.

  Attributes:
    backbone: makes one member; the fields in its `alone` are not used.
    ensemble: how many members.
    unlabelled: what the UDM sees besides the normal images.
    length: of the ensembles' training.
    optimizer: of the ensembles' training.
    refine: the refinement nets.
  """

  backbone: _reconstruction.Reconstruction = ae.Method()
  ensemble: Ensemble = Ensemble()
  unlabelled: Unlabelled = Unlabelled()
  length: Length = Length(epochs=250, batch_size=64)
  optimizer: Optimizer = Optimizer(learning_rate=5e-4, b1=0.5)
  refine: Refine = Refine()

  @property
  def score_names(self) -> tuple[str, ...]:
    """Names as in the module's docstring; the last one is the headline."""
    single = (f"rec_{k}" for k in range(self.ensemble.size))
    refined = (
      f"r_{name}" for name in sorted(self._refined_inputs, reverse=True)
    )
    return (*single, "rec", "intra", "inter", *refined)

  @property
  def _refined_inputs(self) -> tuple[str, ...]:
    length = self.refine.length
    steps_ = length.epochs if length.steps is None else length.steps
    return self.refine.inputs if steps_ else ()

  def phases(self) -> tuple[types.Stage, ...]:
    """ "ensemble" (UDM members first), then "refine_dual" or "refine_intra".

    What the backbone needs before its training comes first.
    """
    size = self.ensemble.size
    backbone = dataclasses.replace(
      self.backbone, length=self.length, optimizer=self.optimizer
    )
    # A backbone's last phase is its training; VGG19's weights come before.
    *before, single = backbone.phases()
    # The UDM first: `_halves` relies on this order.
    pools = (self.unlabelled.pool(),) * size + (types.NORMAL,) * size
    # Neither the ensembles' size nor the refinement changes a member.
    ensemble = dataclasses.replace(
      single, name="ensemble", pools=pools, made_of=backbone
    )
    refinements = (self._refinement(name) for name in self._refined_inputs)
    return (*before, ensemble, *refinements)

  def files(self, shape: tuple[int, int, int]) -> tuple[layout.File, ...]:
    """The files `a/K.pth` (UDM), `b/K.pth` (NDM) and `refine_INPUT.pth`."""
    (file,), size = self.backbone.files(shape), self.ensemble.size
    if self._as_published:
      file = layout.model(
        layout.under("train/net", names.ddad_autoencoder()), 1
      )
    single = file.of_stage("ensemble")
    unknown = dataclasses.replace(
      single, flag="udm", name="a/{}.pth", members=range(size)
    )
    normative = dataclasses.replace(
      single, flag="ndm", name="b/{}.pth", members=range(size, 2 * size)
    )
    refinements = (
      layout.File(
        "refine",
        f"refine_{name}.pth",
        layout.under(f"refine_{name}/net", names.ddad_refine()),
      )
      for name in self._refined_inputs
    )
    return (unknown, normative, *refinements)

  @property
  def _as_published(self) -> bool:
    """True if the official code has names of its own for the backbone."""
    backbone = self.backbone
    # The sizes that it can have; others keep MedIAnomaly's names.
    return (
      isinstance(backbone, ae.Method | aeu.Method | memae.Method)
      and backbone.down_depth == backbone.up_depth == 1
    )

  def predict(
    self, states: Mapping[str, types.TrainState], batch: types.Batch
  ) -> types.Preds:
    """The backbone's reconstructions; none of its own maps are needed."""
    return self.backbone.reconstruct(states["ensemble"], batch["image"])

  def score(
    self,
    preds: types.Preds,
    batch: types.Batch,
    fitted: Mapping[str, types.TrainState],
  ) -> types.Scores:
    """All scores of the module's docstring; refined ones if `fitted` has them.

    Args:
      preds: of all members, UDM first.
      batch: the images.
      fitted: states of the refinement phases, each with one member in front.
    """
    _, normative = _halves(preds)
    pixels = self._maps(preds, batch["image"])
    for name in self.refine.inputs:
      if f"refine_{name}" in fitted:
        pixels[f"r_{name}"] = self._refined(
          name, fitted[f"refine_{name}"], pixels
        )
    image = _reconstruction.member_scores(batch["image"], normative)
    image |= {
      name: discrepancy.image_score(map_) for name, map_ in pixels.items()
    }
    # The NDM's mean is shown. The UDM may have learned to reconstruct lesions.
    return types.Scores(image, pixels, jnp.mean(normative["x_hat"], 0))

  def _refinement(self, name: str) -> types.Phase:
    """The phase that trains the net of these inputs on pasted anomalies."""

    def init(key, image_shape):
      channels = len(_INPUTS[name])
      stack = jnp.zeros((1, *image_shape[:2], channels))
      return _net.init(self._net(types.Axis()), key, stack)

    def loss(params, extra, batch, context):
      # New squares at every step. The ensembles were trained without any.
      image, mask = _paste(batch, context)
      stack = _stack(name, self._teach(image, context))
      logits, extra = _net.train(
        self._net(context.axis),
        params,
        extra,
        stack,
        precision=self.backbone.precision,
      )
      return jnp.mean(losses.focal(logits, mask)), (extra, {})

    return types.Phase(
      f"refine_{name}",
      self.refine.length,
      (types.NORMAL,),
      init,
      steps.Descend(loss, self.refine.optimizer),
      reads=("ensemble",),
      shared=True,
      # Squares come from a second image.
      inputs=types.Inputs(source=True),
      # Other inputs' nets do not matter; the ensembles' members are part of the
      # stage that it reads.
      made_of=(
        name,
        dataclasses.replace(self.refine, inputs=()),
        self.backbone,
      ),
    )

  def _net(self, axis: types.Axis) -> RefineNet:
    return RefineNet(self.refine.width, axis)

  def _teach(self, image, context) -> dict[str, Array]:
    """Maps of the frozen ensembles, all members on the same images."""
    # `predict` would also trace the backbone's maps, such as AE's gradients,
    # which nobody reads here.
    reconstruct = jax.vmap(self.backbone.reconstruct, in_axes=(0, None))
    preds = reconstruct(context.ensemble["ensemble"], image)
    # None of this phase's parameters is in the maps. The line says so, and
    # keeps it true.
    return lax.stop_gradient(self._maps(preds, image))

  def _maps(self, preds, image) -> dict[str, Float[Array, "b h w"]]:
    unknown, normative = _halves(preds)
    variance = discrepancy.mean_variance(normative)
    x_hat = normative["x_hat"]
    return {
      "rec": discrepancy.error_map(image, jnp.mean(x_hat, 0), variance),
      "intra": discrepancy.intra_map(x_hat, variance),
      "inter": discrepancy.inter_map(unknown["x_hat"], x_hat, variance),
    }

  def _refined(self, name, state, pixels) -> Float[Array, "b h w"]:
    """The probability that each pixel is abnormal."""
    # The stage has one member, on the leading axis.
    params, extra = jax.tree.map(lambda x: x[0], (state.params, state.extra))
    logits = _net.test(
      self._net(types.Axis()),
      params,
      extra,
      _stack(name, pixels),
      precision=self.backbone.precision,
    )
    # Two classes, as in the official code; the second is abnormal.
    return jax.nn.softmax(logits)[..., 1]


def _halves(preds: types.Preds) -> tuple[types.Preds, types.Preds]:
  """The predictions of the UDM and of the NDM."""
  size = preds["x_hat"].shape[0] // 2
  unknown = {name: array[:size] for name, array in preds.items()}
  return unknown, {name: array[size:] for name, array in preds.items()}


def _paste(
  batch: types.Batch, context: types.Context
) -> tuple[Float[Array, "b h w c"], Bool[Array, "b h w"]]:
  """Pasted anomalies, each from its own key."""
  keys = rng.per_example(rng.stream(context.key, "paste"), batch["slot"])
  return jax.vmap(paste)(keys, batch["image"], batch["source"])


def _stack(name: str, pixels: Mapping[str, Any]) -> Float[Array, "b h w m"]:
  return jnp.stack([pixels[part] for part in _INPUTS[name]], axis=-1)
