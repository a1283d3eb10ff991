"""Synthetic anomalies on the host, one image at a time.

The published path, which `benchmarks.synthesis` measures ours against: Pillow
turns and crops, boxes are guessed and rejected, OpenCV resizes and clones. Its
square medians are OpenCV's here, many times quicker than the published ones.
"""

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

from medad_jax.augment.nsa import frame, synthesis

_CLONED = 50
_DISK = np.hypot(*np.ogrid[-5:6, -5:6]) <= 5

Box = tuple[int, int, int, int]  # top, left, height, width


def view(rng: np.random.Generator, image: Image.Image) -> np.ndarray:
  """A training view [t t], uint8: turned, cropped, cropped again at random."""
  shorter = min(image.size)
  middle, side = round(shorter * 230 / 256), frame.side_of(shorter)
  turned = image.rotate(rng.uniform(-3, 3), resample=Image.Resampling.NEAREST)
  top, left = (round((size - middle) / 2) for size in image.size[::-1])
  top, left = rng.integers(0, middle - side + 1, 2) + (top, left)
  box = (left, top, left + side, top + side)
  return np.asarray(turned.crop(tuple(map(int, box))))


def synthesize(
  rng: np.random.Generator,
  image: np.ndarray,
  source: np.ndarray,
  recipe: synthesis.Recipe,
) -> tuple[np.ndarray, np.ndarray, list[Box]]:
  """Puts patches of the source into the image.

  Args:
    rng: of this example.
    image: [t t], uint8.
    source: [t t], uint8.
    recipe: what to do.

  Returns:
    The image [t t], uint8; the label [t t], float32; where patches are.
  """
  source = image if recipe.same else source
  objects = {
    "image": _objects(image, recipe),
    "source": _objects(source, recipe),
  }
  factor = rng.uniform(*recipe.factors) if recipe.factor else 1.0
  after, region, boxes = image, np.zeros(image.shape, bool), []
  for number in range(recipe.patches):
    if number and rng.random() < 0.5:
      continue
    patch = _patch(rng, source, objects, recipe)
    if patch is None:
      continue
    content, touched, box = patch
    after = _blend(after, content, touched, box, factor, recipe)
    region[_slices(box)] = touched
    boxes.append(box)
  return after, _label(image, after, region, factor, recipe), boxes


def _objects(image, recipe):
  bright = (image > recipe.background).astype(np.uint8)
  return cv2.medianBlur(bright, 7)


def _slices(box):
  top, left, height, width = box
  return slice(top, top + height), slice(left, left + width)


def _patch(rng, source, objects, recipe):
  """Content, mask and place of a patch; None if there is no place."""
  box = _source(rng, objects["source"], recipe)
  if box is None:
    return None
  content, mask = source[_slices(box)], objects["source"][_slices(box)]
  if recipe.resize:
    size = _resize(rng, box, len(source), recipe)
    content, mask = cv2.resize(content, size), cv2.resize(mask, size)
  if recipe.shift:
    box = _destination(rng, mask, objects["image"], recipe)
    if box is None:
      return None
  return content, (mask | objects["image"][_slices(box)]).astype(bool), box


def _source(rng, objects, recipe) -> Box | None:
  side = len(objects)
  low, high = recipe.bounds(side)
  drawn = rng.gamma(recipe.gamma_shape, recipe.gamma_scale, 2)
  half = np.clip((recipe.gamma_offset + drawn) * side, low, high).astype(int)
  for _ in range(recipe.tries):
    center = rng.integers(low, side - low, 2)
    start = np.maximum(center - half, 0)
    height, width = np.minimum(center + half, side) - start
    box = (*start, height, width)
    if objects[_slices(box)].sum() > recipe.min_object * height * width:
      return box
  return None


def _resize(rng, box, side, recipe) -> tuple[int, int]:
  """Another width and height, in OpenCV's order."""
  low, high = recipe.bounds(side)
  *_, height, width = box
  scale = np.clip(rng.normal(1, recipe.spread), *recipe.scales)
  tall = np.clip(scale * height, low, high)
  wide = int(np.clip(int(tall / height * width), low, high))
  return wide, int(np.clip(int(wide / width * height), low, high))


def _destination(rng, mask, objects, recipe) -> Box | None:
  height, width = mask.shape
  side, count = len(objects), mask.sum()
  for _ in range(recipe.tries):
    top = rng.integers(1, side - 2 * (height // 2) - 1)
    left = rng.integers(1, side - 2 * (width // 2) - 1)
    box = (top, left, height, width)
    if count <= recipe.min_object * height * width:
      continue
    if (mask & objects[_slices(box)]).sum() > recipe.min_overlap * count:
      return box
  return None


def _blend(image, content, touched, box, factor, recipe):
  if recipe.blend == "poisson":
    return _clone(image, content, box, factor, recipe.mixed)
  after = image.copy()
  below = after[_slices(box)]
  level = content
  if recipe.blend == "mix":
    level = np.floor(below - factor * below + factor * content)
  below[touched] = level[touched]
  return after


def _clone(image, content, box, factor, mixed):
  """OpenCV clones three channels, so that two are empty."""
  top, left, height, width = box
  mask = np.full((height, width), np.ceil(255 * factor), np.uint8)
  mask[[0, -1]] = mask[:, [0, -1]] = 0
  if np.count_nonzero(mask) < _CLONED:
    return image
  anchor = (int(left + width - width // 2), int(top + height // 2))
  kind = cv2.MIXED_CLONE if mixed else cv2.NORMAL_CLONE
  below, above = (_colored(x) for x in (image, content))
  return cv2.seamlessClone(above, below, mask, anchor, kind)[..., 0]


def _colored(image):
  return np.stack([image, *np.zeros((2, *image.shape), np.uint8)], -1)


def _label(before, after, region, factor, recipe):
  change = cv2.absdiff(before, after)
  changed = (region & (change > recipe.tolerance)).astype(np.uint8)
  changed = cv2.medianBlur(changed, 5)
  if recipe.label == "binary":
    return changed.astype(np.float32)
  if recipe.label == "factor":
    return np.float32(factor) * changed
  level = ndimage.median_filter(
    changed * change, footprint=_DISK, mode="nearest"
  )
  if recipe.label == "raw":
    return level.astype(np.float32)
  exponent = recipe.steepness * (level.astype(np.float32) - recipe.midpoint)
  return changed / (1 + np.exp(-exponent))
