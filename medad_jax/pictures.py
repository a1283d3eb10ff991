"""Decoded pictures to the images that a model is fed, with numpy alone.

What `data/preparation.py` does with Pillow, to the last bit: a model file takes
this along, for machines that have neither Pillow nor the package.
"""

import math
from typing import Any

import numpy as np

_BITS = 22  # of a fraction, in Pillow's resampling


class ModelFileError(ValueError):
  """A model or images that cannot be used; its text is one sentence."""


def check_all(images: Any) -> None:
  """Raises ModelFileError unless there are images, and they look decoded."""
  if not hasattr(images, "__len__") or isinstance(images, str | bytes):
    raise ModelFileError(
      f"{type(images).__name__} was given; give a list of images, or an array"
      " [n h w] or [n h w c]."
    )
  if not len(images):
    raise ModelFileError("no image was given; give one or more.")
  if getattr(images, "ndim", 4) < 3:
    raise ModelFileError(
      f"an array of shape {images.shape} was given; give images [n h w] or"
      " [n h w c], a single one as image[None]."
    )
  for image in images:
    check(image)
  if all(int(np.max(image)) <= 1 for image in images) and any(
    np.any(image) for image in images
  ):
    raise ModelFileError(
      "all levels are 0 or 1; give gray levels as decoded, from 0 to 255."
    )


def check(image: Any) -> None:
  """Raises ModelFileError unless this is one decoded image."""
  shape, dtype = np.shape(image), getattr(image, "dtype", None)
  if len(shape) not in (2, 3) or 0 in shape:
    raise ModelFileError(
      f"an image of shape {shape} was given; give [h w], [h w 1] or [h w 3]."
    )
  if len(shape) == 3 and shape[2] not in (1, 3):
    raise ModelFileError(
      f"an image of {shape[2]} channels was given; give 1 (gray) or 3 (RGB),"
      " channels last."
    )
  if dtype not in (np.uint8, np.uint16):
    real = dtype is not None and np.issubdtype(dtype, np.floating)
    kind = (
      "values that are not finite (NaN)"
      if real and not np.isfinite(image).all()
      else f"{dtype or type(image).__name__} values"
    )
    raise ModelFileError(
      f"{kind} were given; give gray levels as decoded, uint8 (0 to 255) or"
      " uint16."
    )


def prepared(image: np.ndarray, text: str, channels: int) -> np.ndarray:
  """A decoded image after its preparation, [h w channels]: Pillow's own bits.

  Args:
    image: see `check`.
    text: the steps as `data.preparation` writes them, with commas between:
      gray, crop:N, pad, equalize, resize:N, shorter:N, shrink:N; resize and
      shorter are bilinear, or resize:N:lanczos.
    channels: 1 or 3.
  """
  steps = [part.split(":") for part in text.split(",")]
  pixels = np.asarray(image)
  pixels = pixels[..., None] if pixels.ndim == 2 else pixels
  if pixels.dtype == np.uint16:
    pixels = _stretched(pixels.astype(np.float64))
  color = channels == 3 or any(step[0] == "gray" for step in steps)
  if color and pixels.shape[2] == 1:
    pixels = np.repeat(pixels, 3, 2)
  elif not color and pixels.shape[2] == 3:
    pixels = _luminance(pixels, 0x8000)  # rounds
  for name, *values in steps:
    numbers = [int(v) if v.isdecimal() else v for v in values]
    pixels = _STEPS[name](pixels, *numbers)
  return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


def _stretched(pixels):
  low, high = pixels.min(), pixels.max()
  if not high > low:
    return np.zeros(pixels.shape, np.uint8)
  return (np.clip((pixels - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _luminance(pixels, half=0):
  weights = np.array([19595, 38470, 7471], np.int32)
  return ((pixels.astype(np.int32) @ weights + half) >> 16)[..., None].astype(
    np.uint8
  )


def _crop(pixels, size):
  left, top = (round((pixels.shape[a] - size) / 2) for a in (1, 0))
  cut = np.zeros((size, size, pixels.shape[2]), np.uint8)
  rows, columns = (
    np.arange(max(at, 0), min(at + size, side))
    for at, side in zip((top, left), pixels.shape[:2], strict=True)
  )
  cut[np.ix_(rows - top, columns - left)] = pixels[np.ix_(rows, columns)]
  return cut


def _pad(pixels):
  height, width, channels = pixels.shape
  side = max(height, width)
  square = np.empty((side, side, channels), np.uint8)
  square[:] = pixels.min((0, 1))
  top, left = (side - height) // 2, (side - width) // 2
  square[top : top + height, left : left + width] = pixels
  return square


def _equalize(pixels):
  found = np.empty_like(pixels)
  for channel in range(pixels.shape[2]):
    counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
    there = counts[counts > 0]
    step = (there.sum() - there[-1]) // 255 if len(there) > 1 else 0
    table = np.arange(256)
    if step:
      below = np.concatenate([[0], np.cumsum(counts)[:-1]])
      table = np.minimum((step // 2 + below) // step, 255)
    found[..., channel] = table[pixels[..., channel]]
  return found


def _resize(pixels, size, kernel="bilinear"):
  return _resampled(pixels, (size, size), kernel)


def _shorter(pixels, size, kernel="bilinear"):
  short = min(pixels.shape[:2])
  height, width = (size * side // short for side in pixels.shape[:2])
  return _resampled(pixels, (height, width), kernel)


def _resampled(pixels, sides, kernel):
  """Pillow's resampling: across and down, each rounded to 8 bits."""
  less = [
    before - after for before, after in zip(pixels.shape, sides, strict=False)
  ]
  # Found by trial: Pillow 13 begins with the rows where they lose twice as much
  # as the columns; earlier ones always began across.
  order = (0, 1) if less[0] > max(0, 2 * less[1]) else (1, 0)
  for axis in order:
    if pixels.shape[axis] == sides[axis]:
      continue
    weights = _weights(pixels.shape[axis], sides[axis], kernel)
    # Whole numbers below 2**53, so that products of doubles are exact.
    sums = np.tensordot(weights, pixels.astype(np.float64), (1, axis))
    levels = (sums.astype(np.int64) + (1 << (_BITS - 1))) >> _BITS
    pixels = np.moveaxis(np.clip(levels, 0, 255).astype(np.uint8), 0, axis)
  return pixels


def _weights(before, after, kernel):
  """Fixed-point weights [after before] of one side."""
  function, reach = _KERNELS[kernel]
  scale = before / after
  wide = max(scale, 1.0)  # antialiased: it grows with the reduction
  table = np.zeros((after, before))
  for row in range(after):
    center = (row + 0.5) * scale
    first = max(int(center - reach * wide + 0.5), 0)
    last = min(int(center + reach * wide + 0.5), before)
    found = [
      function((x - center + 0.5) * (1.0 / wide)) for x in range(first, last)
    ]
    total = sum(found)
    for x, value in zip(range(first, last), found, strict=True):
      fixed = value / total * (1 << _BITS)
      table[row, x] = int(fixed - 0.5 if value < 0 else fixed + 0.5)
  return table


def _bilinear(x):
  return max(1.0 - abs(x), 0.0)


def _lanczos(x):
  return _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0


def _sinc(x):
  return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


def _shrink(pixels, size):
  found = pixels.astype(np.float32)
  for axis in (0, 1):
    side = found.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, None)
    low = np.minimum(at.astype(int), side - 1)
    high = np.minimum(low + 1, side - 1)
    part = (at - low).astype(np.float32)
    part = part.reshape([-1 if a == axis else 1 for a in range(3)])
    found = found.take(low, axis) * (1 - part) + found.take(high, axis) * part
  return found


_KERNELS = {"bilinear": (_bilinear, 1.0), "lanczos": (_lanczos, 3.0)}
_STEPS = {
  "gray": _luminance,
  "crop": _crop,
  "pad": _pad,
  "equalize": _equalize,
  "resize": _resize,
  "shorter": _shorter,
  "shrink": _shrink,
}
