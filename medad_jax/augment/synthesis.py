"""Synthetic anomalies: patches of an image put into another one.

CutPaste (Li et al., CVPR 2021), FPI (Tan et al., MELBA 2022), PII (Tan et al.,
MICCAI 2021) and NSA (Schlüter et al., ECCV 2022), all four as the code of NSA
has them for chest X-rays. One example in, one out; every shape is static.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int, PRNGKeyArray, UInt8

from medad_jax import rng, types
from medad_jax.augment import medians, placement, poisson, windows
from medad_jax.ranges import (
  Draws,
  FixedPart,
  FixedPositive,
  FixedShare,
  FixedWeight,
  Level,
  Positive,
  Share,
  Tries,
  Weight,
)

# OpenCV clones nothing where fewer pixels are inside the box's rim.
_CLONED = 50


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How patches are cut, placed, blended and labelled.

  Attributes:
    same: the patch is taken from the image itself.
    resize: the patch is resized; its sides are then at most `largest`, which
      for the others is half of a side (as published).
    shift: the patch goes somewhere else, otherwise to the place it is from,
      whatever is there.
    blend: "paste" replaces the image where patch or image have an object, "mix"
      weights it with `1 - factor` there, "poisson" clones the whole box.
    mixed: Poisson blending takes the stronger gradients, else the patch's.
    factor: one factor an image is drawn, otherwise it is 1. In Poisson blending
      it scales the patch's gradients.
    label: of the pixels that changed, in a box's last patch's objects:
      "binary" 1, "factor" the factor, "raw" the median of the change in grey
      levels, "intensity" its logistic function.
    patches: the most an image gets; all but the first are tossed for.
    smallest: least half side of a box, as a share of the image's side, which is
      also the least distance of its center from the border.
    largest: largest half side, as a share of the image's side.
    gamma_shape: of the law of half sides, a whole number.
    gamma_scale: of that law, as a share of the image's side.
    gamma_offset: is added to it.
    scales: least and largest factor of a resized patch's sides.
    spread: deviation of that factor before it is clipped, around 1.
    background: largest grey level that is no object.
    min_object: share of a patch that must be exceeded by objects.
    min_overlap: share of a shifted patch's objects that must fall on the
      image's, and more.
    tries: guesses of a place. (The published code stops at 200 and throws the
      200th away.)
    factors: least and largest factor.
    tolerance: largest change that gets no label, in grey levels.
    steepness: of the logistic function.
    midpoint: the change whose label is 1/2, in grey levels.
  """

  same: bool = False
  resize: bool = False
  shift: bool = False
  blend: Literal["paste", "mix", "poisson"] = "poisson"
  mixed: bool = True
  factor: bool = False
  label: Literal["binary", "factor", "intensity", "raw"] = "binary"
  patches: Draws = 3
  smallest: FixedShare = 0.03
  largest: FixedShare = 0.4
  gamma_shape: Draws = 2
  gamma_scale: FixedPositive = 0.03
  gamma_offset: FixedShare = 0.05
  scales: tuple[FixedPositive, FixedPositive] = (0.7, 1.3)
  spread: FixedWeight = 0.5
  background: Level = 20
  min_object: FixedPart = 0.7
  min_overlap: FixedPart = 0.7
  tries: Tries = 199
  factors: tuple[Share, Share] = (0.05, 0.95)
  tolerance: Level = 1
  steepness: Positive = 0.5
  midpoint: Weight = 4.0

  def __post_init__(self):
    # A number of a trial may be an array, of which only its range is known.
    pairs = {
      "smallest and largest": (self.smallest, self.largest),
      "scales": self.scales,
      "factors": self.factors,
    }
    for name, (low, high) in pairs.items():
      if all(isinstance(n, int | float) for n in (low, high)) and low > high:
        raise types.UserError(
          f"recipe: {name} {low} and {high} were given; the first must not be"
          " above the second."
        )

  def check(self, side: int, channels: int) -> None:
    """Raises UserError where such images have no room for patches."""
    if channels != 1:
      raise types.UserError(
        f"Synthetic anomalies need images with one channel, not {channels}; "
        "convert the set to grayscale (config.data.channels = 1)."
      )
    low, window = self.bounds(side)[0], self.window(side)
    if low < 1 or side - 2 - 2 * (window // 2) < 1:
      raise types.UserError(
        f"A side of {side} pixels is too small for patches of {low} to {window}"
        " pixels and a border; set a larger data.image_size, or other"
        " recipe.smallest and recipe.largest."
      )

  def bounds(self, side: int) -> tuple[int, int]:
    """`smallest` and `largest` in pixels: 7 and 90 of 224."""
    return round(self.smallest * side), round(self.largest * side)

  def window(self, side: int) -> int:
    """Pixels of the side of a window that holds any patch: 180, resized 90."""
    high = self.bounds(side)[1]
    return high if self.resize else min(2 * high, side)


CUTPASTE = Recipe(same=True, shift=True, blend="paste")
FPI = Recipe(blend="mix", factor=True, label="factor")
PII = Recipe(factor=True, label="factor")
NSA = Recipe(resize=True, shift=True, label="intensity")


class Synthetic(NamedTuple):
  """An image with anomalies.

  Attributes:
    image: whole numbers in 0..255.
    label: how abnormal each pixel is; 0 where it is not.
    placed: which patches were attempted and found a place.
    boxes: top, left, height and width of where they are; 0 for the others.
  """

  image: Float[Array, "t t 1"]
  label: Float[Array, "t t"]
  placed: Bool[Array, "p"]
  boxes: Int[Array, "p 4"]


class _Scene(NamedTuple):
  """What all patches of an image share."""

  origin: Float[Array, "t t"]
  origin_objects: Bool[Array, "t t"]
  totals: Int[Array, "m m"]
  image_objects: Bool[Array, "n n"]
  spectrum: Complex[Array, "t f"]
  factor: Float[Array, ""]


class _Patch(NamedTuple):
  """A patch and its place; windows of side k with the box at the top left."""

  content: Float[Array, "k k"]
  objects: Bool[Array, "k k"]
  corner: Int[Array, "2"]
  size: Int[Array, "2"]
  found: Bool[Array, ""]


def synthesize(
  key: PRNGKeyArray,
  image: UInt8[Array, "t t c"],
  source: UInt8[Array, "t t c"],
  recipe: Recipe,
) -> Synthetic:
  """Puts one to three patches of a source into an image.

  A patch that finds no place is left out, so that an image without foreground
  comes back as it was, with a label of zeros. Medians of masks and labels are
  over windows of 5 and 7 and a disk of radius 5 pixels, whatever the side.

  Args:
    key: of this example.
    image: one channel.
    source: another image; not used by recipes that are `same`.
    recipe: what to do.

  Raises:
    UserError: more channels than one, or an image too small for its patches.
  """
  side = _side(image, recipe)
  before = image[..., 0].astype(jnp.float32)
  origin = before if recipe.same else source[..., 0].astype(jnp.float32)
  factor = _factor(rng.stream(key, "factor"), recipe)
  scene = _scene(before, origin, factor, recipe)
  numbers = jnp.arange(recipe.patches)
  keys = rng.per_example(rng.stream(key, "patch"), numbers)

  def step(state, patch):
    number, patch_key = patch
    return _add(patch_key, number == 0, state, scene, recipe)

  window = recipe.window(side)
  start = (
    windows.grown(before, window),
    jnp.zeros((side + window, side + window), bool),
  )
  (canvas, region), (placed, boxes) = jax.lax.scan(step, start, (numbers, keys))
  after = canvas[:side, :side]
  label = _label(before, after, region[:side, :side], factor, recipe)
  return Synthetic(after[..., None], label, placed, boxes)


def _side(image, recipe: Recipe) -> int:
  """The image's side, checked."""
  side, _, channels = image.shape
  recipe.check(side, channels)
  return side


def _factor(key, recipe: Recipe):
  if not recipe.factor:
    return jnp.float32(1)
  low, high = recipe.factors
  return jax.random.uniform(key, minval=low, maxval=high)


def _scene(before, origin, factor, recipe: Recipe) -> _Scene:
  """Objects are those of the untouched images."""
  origin_objects = placement.objects(origin, recipe.background)
  image_objects = placement.objects(before, recipe.background)
  return _Scene(
    origin,
    origin_objects,
    placement.totals(origin_objects),
    windows.grown(image_objects, recipe.window(len(before))),
    placement.spectrum(image_objects),
    factor,
  )


def _add(key, first, state, scene: _Scene, recipe: Recipe):
  """One more patch in the image so far, and its place."""
  canvas, region = state
  patch = _patch(key, scene, recipe)
  placed = patch.found & (first | jax.random.bernoulli(rng.stream(key, "toss")))
  if recipe.blend == "poisson":
    placed &= jnp.prod(patch.size - 2) >= _CLONED
  # A box of no size changes nothing.
  patch = patch._replace(size=jnp.where(placed, patch.size, 0))
  side = len(patch.content)
  inside = windows.box(patch.size, side)
  here = windows.read(scene.image_objects, patch.corner, side)
  touched = inside & (patch.objects | here)
  # A later patch takes its box from the earlier ones, outside objects too.
  earlier = windows.read(region, patch.corner, side)
  region = windows.write(
    region, jnp.where(inside, touched, earlier), patch.corner
  )
  canvas = _blend(canvas, patch, touched, scene.factor, recipe)
  box = jnp.concatenate([patch.corner, patch.size])
  return (canvas, region), (placed, jnp.where(placed, box, 0))


def _patch(key, scene: _Scene, recipe: Recipe) -> _Patch:
  side = len(scene.origin)
  bounds, window = recipe.bounds(side), recipe.window(side)
  gamma = (recipe.gamma_shape, recipe.gamma_scale, recipe.gamma_offset)
  half = placement.half_sizes(rng.stream(key, "half"), side, bounds, gamma)
  corner, size, found = placement.source(
    rng.stream(key, "source"),
    scene.totals,
    half,
    bounds[0],
    recipe.min_object,
    recipe.tries,
  )
  new = size
  if recipe.resize:
    new = placement.resize(
      rng.stream(key, "resize"), size, bounds, recipe.scales, recipe.spread
    )
  content, objects = _cut(scene, corner, size, new, window, recipe)
  if not recipe.shift:
    return _Patch(content, objects, corner, new, found)
  corner, settled = placement.destination(
    rng.stream(key, "destination"),
    objects,
    new,
    scene.spectrum,
    (recipe.min_object, recipe.min_overlap),
    recipe.tries,
  )
  return _Patch(content, objects, corner, new, found & settled)


def _cut(scene: _Scene, corner, size, new, window, recipe: Recipe):
  """Content and objects of a box, at its new size."""
  if recipe.resize:
    objects = scene.origin_objects.astype(jnp.float32)
    content, objects = (
      windows.resized(image, corner, size, new, window)
      for image in (scene.origin, objects)
    )
  else:
    content, objects = (
      windows.read(windows.grown(image, window), corner, window)
      for image in (scene.origin, scene.origin_objects)
    )
  return content, (objects > 0) & windows.box(new, window)


def _blend(canvas, patch: _Patch, touched, factor, recipe: Recipe):
  """The image so far with the patch in it."""
  if recipe.blend == "poisson":
    return poisson.clone(
      canvas, patch.content, patch.corner, patch.size, factor, recipe.mixed
    )
  below = windows.read(canvas, patch.corner, len(touched))
  level = patch.content
  if recipe.blend == "mix":
    # What does not change must not be rounded down.
    level = jnp.floor((1 - factor) * below + factor * level + 1e-4)
  return windows.write(canvas, jnp.where(touched, level, below), patch.corner)


def _label(before, after, region, factor, recipe: Recipe):
  """From the whole change, the last patch's objects in each box."""
  change = jnp.abs(after - before)
  changed = medians.box_median(region & (change > recipe.tolerance), 5)
  if recipe.label == "binary":
    return changed.astype(jnp.float32)
  if recipe.label == "factor":
    return factor * changed
  level = jnp.where(changed, change, 0).astype(jnp.uint8)
  level = medians.disk_median(level, 5).astype(jnp.float32)
  if recipe.label == "raw":
    return level
  logistic = jax.nn.sigmoid(recipe.steepness * (level - recipe.midpoint))
  return jnp.where(changed, logistic, 0)
