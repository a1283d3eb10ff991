"""DDAD-ASR: discrepancies between and within two ensembles, refined.

Paper: Cai et al., "Dual-distribution discrepancy with self-supervised
refinement for anomaly detection in medical images", Medical Image Analysis 86
(2023), arXiv 2210.04227; without refinement MICCAI 2022, arXiv 2206.03935.

Two ensembles of a backbone are trained: one on normal and unlabelled images
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
Mended: the number of members is set, not found on disk; one member is refused
(its intra-discrepancy is not a number); every random draw is seeded, and fresh
in every epoch.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from medad_jax import losses, rng, types
from medad_jax.augment.paste import paste
from medad_jax.methods import _net, _reconstruction, ae
from medad_jax.nets.refine import RefineNet
from medad_jax.scoring import discrepancy

# What each refinement net sees, in the order of its channels.
_INPUTS = {"dual": ("inter", "intra"), "intra": ("intra",)}


@dataclasses.dataclass(frozen=True)
class Ensemble:
  """The two ensembles.

  Attributes:
    size: members of each of the two.
  """

  size: int = 3

  def __post_init__(self):
    if self.size < 2:
      raise types.UserError(
        f"ensemble.size={self.size} leaves the intra-discrepancy undefined:"
        " it is a deviation among members, set the size to 2 or more"
      )


@dataclasses.dataclass(frozen=True)
class Refine:
  """The refinement nets.

  Attributes:
    inputs: which to train, of "dual" and "intra"; none to skip refinement.
    width: channels of their hidden layers.
    training: length (0 epochs to skip refinement) and optimizer.
  """

  inputs: tuple[str, ...] = ("dual",)
  width: int = 128
  training: types.Training = types.Training(
    epochs=100,
    batch_size=8,
    learning_rate=1e-4,
    b1=0.5,
    b2=0.999,
    weight_decay=1e-4,
  )

  def __post_init__(self):
    unknown = sorted(set(self.inputs) - set(_INPUTS))
    if unknown or len(set(self.inputs)) < len(self.inputs):
      raise types.UserError(
        f"refine.inputs={self.inputs} was given, but each must be one of"
        f" {', '.join(_INPUTS)} and named once"
      )


@dataclasses.dataclass(frozen=True)
class Method:
  """Hyper-parameters of DDAD-ASR.

  Attributes:
    backbone: makes one member; its own `members` and `training` are not used.
    ensemble: how many members.
    training: length and optimizer of the ensembles.
    refine: the refinement nets.
  """

  backbone: _reconstruction.Reconstruction = ae.Method()
  ensemble: Ensemble = Ensemble()
  training: types.Training = types.Training(
    epochs=250, batch_size=64, learning_rate=5e-4, b1=0.5, b2=0.999
  )
  refine: Refine = Refine()

  @property
  def score_names(self) -> tuple[str, ...]:
    """The module's docstring says what they are; dual is the paper's."""
    single = (f"rec_{k}" for k in range(self.ensemble.size))
    refined = (
      f"r_{name}" for name in sorted(self._refined_inputs, reverse=True)
    )
    return (*single, "rec", "intra", "inter", *refined)

  @property
  def _refined_inputs(self) -> tuple[str, ...]:
    return self.refine.inputs if self.refine.training.epochs else ()

  def phases(self) -> tuple[types.Phase, ...]:
    """ "ensemble" (UDM members first), then "refine_dual" or "refine_intra".

    What the backbone needs before its training comes first.
    """
    size = self.ensemble.size
    *before, single = self.backbone.phases()
    ensemble = types.Phase(
      "ensemble",
      self.training,
      ("mixed",) * size + ("normal",) * size,
      single.init,
      single.loss,
      single.amend,
      looped=single.looped,
    )
    refinements = (self._refinement(name) for name in self._refined_inputs)
    return (*before, ensemble, *refinements)

  def predict(
    self, states: Mapping[str, types.TrainState], batch: types.Batch
  ) -> types.Preds:
    """What the backbone predicts."""
    return self.backbone.predict({"train": states["ensemble"]}, batch)

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
    return types.Scores(image, pixels, jnp.mean(normative["x_hat"], 0))

  def _refinement(self, name: str) -> types.Phase:
    """The phase that trains the net of these inputs on pasted anomalies."""

    def init(key, image_shape):
      channels = len(_INPUTS[name])
      stack = jnp.zeros((1, *image_shape[:2], channels))
      return _net.init(self._net(types.Axis()), key, stack)

    def loss(params, extra, batch, context):
      image, mask = _paste(batch, context)
      stack = _stack(name, self._teach(image, batch, context))
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
      self.refine.training,
      ("normal",),
      init,
      loss,
      shared=True,
      sources=True,
    )

  def _net(self, axis: types.Axis) -> RefineNet:
    return RefineNet(self.refine.width, axis)

  def _teach(self, image, batch, context) -> dict[str, Array]:
    """Maps of the frozen ensembles, all members on the same images."""
    predict = jax.vmap(self.predict, in_axes=(0, None))
    states = {"ensemble": context.frozen["ensemble"]}
    preds = predict(states, {**batch, "image": image})
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
    params, extra = jax.tree.map(lambda x: x[0], (state.params, state.extra))
    logits = _net.test(
      self._net(types.Axis()),
      params,
      extra,
      _stack(name, pixels),
      precision=self.backbone.precision,
    )
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
