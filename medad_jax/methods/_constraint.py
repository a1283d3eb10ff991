"""MADDR's constraint on codes of several organs and modalities.

Paper: Zhang et al., MICCAI 2023, doi 10.1007/978-3-031-43898-1_23. A code is
cut into three slices. One linear head tells organs from the first slice, one
modalities from the second, both by a focal loss, and the third is pulled
towards a center. A method adds the sum inside the weight of its reconstruction
term; the decoder gets the whole code. Scores do not change.

The paper's formulas were not available. `mode` chooses between two readings of
its code:

  "released"  as it runs after the repair of what stops it: both heads get the
              modality (so that each has as many classes as there are
              modalities), and they stay as drawn, since no optimizer has them;
              the center term is the variance among the numbers of each code.
  "intended"  as it was meant: each head gets its own label and is trained with
              the part that makes the code; the center term is the distance
              from the mean of the other codes in the batch.

Between two steps of the training, images of a batch may be mixed with others
of it (`mix_from`, `mix_until`). The mixed image is also the target, and the
focal losses are mixed like the images.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from medad_jax import rng, types
from medad_jax.nets import blocks, ops
from medad_jax.ranges import Amount, Count, Weight, Width
from medad_jax.weights import conversion, layout

_SHARE = 10 / 128  # of the code, for each head, as published
_SETS = 3  # the published center term divides by the number of its data sets
_ALPHA = (0.25, 0.75)  # focal weights of two classes

_HEADS = ("organ", "modality")


@dataclasses.dataclass(frozen=True)
class Constraint:
  """Classes and center of a code, as terms of a loss.

  Attributes:
    mode: "off", or a mode of the module's docstring.
    organs: how many there are in the training images' column `organ`.
    modalities: the same in the column `modality`.
    organ_width: length of the first slice; None for 10 / 128 of the code.
    modality_width: length of the second slice; None for the same.
    head_weight: weight of the focal losses.
    center_weight: weight of the center term.
    mix_from: first step that mixes images.
    mix_until: first step that mixes none again; 0 for no mixing at all.
  """

  mode: Literal["off", "released", "intended"] = "off"
  organs: Count = 2
  modalities: Count = 2
  organ_width: Width | None = None
  modality_width: Width | None = None
  head_weight: Weight = 1.0
  center_weight: Weight = 1.0
  mix_from: Amount = 0
  mix_until: Amount = 0

  def __post_init__(self):
    if 0 < self.mix_until <= self.mix_from:
      raise types.UserError(
        f"constraint.mix_from={self.mix_from} and mix_until={self.mix_until}"
        " leave no step between them: set mix_until to a larger number, or to"
        " 0 for no mixing"
      )

  @property
  def is_on(self) -> bool:
    """True if there is a constraint."""
    return self.mode != "off"

  def inputs(self) -> types.Inputs:
    """The columns that a phase with this constraint reads."""
    if not self.is_on:
      return types.Inputs()
    return types.Inputs(columns=_HEADS, classes=(self.organs, self.modalities))

  def init(self, init: types.Init, latent: int) -> types.Init:
    """Adds the heads to what a phase's `init` makes.

    They lie with the part "net", as a turn moves one part, or in `extra` where
    they are not trained.

    Args:
      init: makes parameters with the part "net".
      latent: length of the code.

    Raises:
      UserError: the code is too short, when the result is called.
    """
    if not self.is_on:
      return init

    def with_heads(key, image_shape):
      params, extra = init(key, image_shape)
      heads = self._heads(rng.stream(key, "heads"), latent)
      if self.mode == "released":
        return params, {**extra, "heads": heads}
      return {**params, "net": {**params["net"], "heads": heads}}, extra

    return with_heads

  def beside(self, file: layout.File, part: str = "train/net") -> layout.File:
    """The file with the heads that lie with the part; it may lack them.

    Published files do: no score needs them.
    """
    if self.mode != "intended":
      return file
    table = {
      theirs: conversion.Module(f"{part}/heads/{ours}", conversion.DENSE)
      for theirs, ours in zip(("fc1", "fc2"), _HEADS, strict=True)
    }
    return dataclasses.replace(
      file,
      table={**file.table, **table},
      optional=(*file.optional, f"{part}/heads"),
    )

  def mixed(self, batch: types.Batch, context: types.Context) -> types.Batch:
    """The batch in which images are mixed, if this step mixes any.

    Besides the images it has the share of the first image, [], as
    "share", and the labels of the second image as "other_organ" and
    "other_modality".
    """
    if not (self.is_on and self.mix_until):
      return batch
    # A share of 1 leaves every image as it is, so one program serves all steps.
    inside = (context.step >= self.mix_from) & (context.step < self.mix_until)
    share = jax.random.uniform(rng.stream(context.key, "share"))
    share = jnp.where(inside, share, 1.0)
    # Partners come from the global batch, so that devices change nothing.
    pool = context.axis.gather(
      {name: batch[name] for name in ("image", *_HEADS)}
    )
    key = rng.stream(context.key, "partners")
    order = jax.random.permutation(key, len(pool["image"]))
    other = jax.tree.map(lambda x: x[order[batch["slot"]]], pool)
    return mix(batch, other, share)

  def term(
    self,
    params: Any,
    extra: Any,
    code: Float[Array, "b ..."],
    batch: types.Batch,
    axis: types.Axis,
  ) -> tuple[Float[Array, ""] | float, types.Metrics]:
    """The sum of the terms, and each by itself; 0 and none where it is off.

    Args:
      params: with the heads in "net", or
      extra: with the heads, as `init` left them.
      code: of a map [b h w z] the mean over its places is constrained.
      batch: with "organ" and "modality", and whatever `mixed` added.
      axis: where the batch is split.
    """
    if not self.is_on:
      return 0.0, {}
    frozen = self.mode == "released"
    # What is in `extra` gets no gradient, and no optimizer's weight decay.
    heads = extra["heads"] if frozen else params["net"]["heads"]
    code = jnp.mean(code.reshape(len(code), -1, code.shape[-1]), 1)
    first, second, content = jnp.split(code, self._bounds(code.shape[-1]), -1)
    # The official code edits the labels of one head in place, and the other
    # head's are the same tensor.
    columns = ("modality", "modality") if frozen else _HEADS
    parts = {
      f"focal_{name}": self._focal(heads[name], part, column, batch)
      for name, part, column in zip(
        _HEADS, (first, second), columns, strict=True
      )
    }
    center = spread if frozen else distance
    parts["center"] = center(content, axis)
    focal = parts["focal_organ"] + parts["focal_modality"]
    return (
      self.head_weight * focal + self.center_weight * parts["center"],
      parts,
    )

  def _focal(self, head, part, column, batch):
    # A product of this size gains nothing from a lower precision.
    logits = ops.matmul(part, head["kernel"]) + head["bias"]
    loss = jnp.mean(focal(logits, batch[column]))
    if "share" not in batch:
      return loss
    other = jnp.mean(focal(logits, batch[f"other_{column}"]))
    return batch["share"] * loss + (1 - batch["share"]) * other

  def _heads(self, key, latent):
    organ, modality = self._widths(latent)
    self._check(organ + modality, latent)
    classes = (self.organs, self.modalities)
    if self.mode == "released":
      classes = (self.modalities,) * 2
    return {
      name: blocks.Dense(count).init(
        rng.stream(key, name), jnp.zeros((1, width))
      )["params"]
      for name, count, width in zip(
        _HEADS, classes, (organ, modality), strict=True
      )
    }

  def _widths(self, latent):
    # A short code still has a number for each head.
    share = max(round(_SHARE * latent), 1)
    return self.organ_width or share, self.modality_width or share

  def _bounds(self, latent):
    organ, modality = self._widths(latent)
    return organ, organ + modality

  def _check(self, taken, latent):
    # The variance among the numbers of a code needs two.
    if latent - taken < 2:
      raise types.UserError(
        f"a code of {latent} numbers leaves {max(latent - taken, 0)} beside the"
        f" {taken} of organ and modality, and the center term needs two: make"
        " it longer (model.latent, or the last of model.channels), or set"
        " constraint.organ_width and modality_width to less"
      )


def mix(
  batch: types.Batch, other: types.Batch, share: Float[Array, ""]
) -> types.Batch:
  """The batch with images mixed with those of another one.

  Args:
    batch: with images and labels.
    other: the same number of them.
    share: of the first image.
  """
  images = share * batch["image"] + (1 - share) * other["image"]
  labels = {f"other_{name}": other[name] for name in _HEADS}
  return {**batch, **labels, "image": images, "share": share}


def focal(
  logits: Float[Array, "b m"], label: Int[Array, "b"]
) -> Float[Array, "b"]:
  """-a (1 - p)^2 ln p with p the softmax at the label (Lin et al., ICCV 2017).

  The weight a is 0.25 of the first and 0.75 of the second class, and 1 / m of
  each of m others.
  """
  classes = logits.shape[1]
  alpha = _ALPHA if classes == 2 else (1 / classes,) * classes
  chosen = jax.nn.one_hot(label, classes, dtype=logits.dtype)
  # Not log(softmax), which is not finite where p is 0 in float32.
  log_p = jnp.sum(chosen * jax.nn.log_softmax(logits), -1)
  weight = chosen @ jnp.asarray(alpha, logits.dtype)
  return -weight * (1 - jnp.exp(log_p)) ** 2 * log_p


def distance(
  content: Float[Array, "b z"], axis: types.Axis
) -> Float[Array, ""]:
  """Mean squared distance of each number from its mean over the other codes.

  The one-class compactness of Perera and Patel (IEEE TIP 2019), over the
  global batch.
  """
  # n / (n - 1) (c - mean of all) is c less the mean of the others.
  count = _count(content, axis)
  gap = content - axis.mean(jnp.mean(content, 0))
  return jnp.mean(gap**2) * (count / (count - 1)) ** 2


def spread(content: Float[Array, "b z"], axis: types.Axis) -> Float[Array, ""]:
  """Variance among the numbers of each code, with the factors of `distance`.

  The released code takes the wrong axis, and divides by its three sets.
  """
  count = _count(content, axis)
  variance = jnp.mean(jnp.var(content, -1, ddof=1))
  return variance * (count / (count - 1)) ** 2 / _SETS


def _count(content, axis):
  count = len(content) * axis.size
  if count < 2:
    raise types.UserError(
      "the constraint compares each image with the others of its batch:"
      " batch_size=1 was given, set it to 2 or more"
    )
  return count
