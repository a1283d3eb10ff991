"""Synthetic lesions in real slices of heads, each with its exact mask.

They are those of the generated set (`medad_jax.data.phantom.lesions`), drawn
with the gray levels of the slice. No pixel outside of a mask changes.
"""

from jaxtyping import Bool, Float, UInt8
import numpy as np
from PIL import Image
from scipy import ndimage

from medad_jax.data import preparation
from medad_jax.data.phantom import anatomy, lesions

SEED = 20231019

_BACKGROUND = 0.08  # of the range; the air around a head is darker
_SHELL = 0.24  # share of the half width that scalp and skull take
_LEAST = 1000  # pixels of brain, of the generated heads' size
_GRAIN = 0.7  # share of the slice's fine detail that a lesion keeps


def kind_of(number: int) -> str:
  """The kind of lesion that `add` draws for a number."""
  return lesions.draw_kind(_stream(number))


def add(
  picture: UInt8[np.ndarray, "h w"], number: int
) -> tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
  """Draws a lesion into an axial slice of a head.

  Args:
    picture: the slice, anterior at the top, at least 64 pixels a side.
    number: of the slice; the same number and picture give the same lesion.

  Returns:
    The slice with the lesion, and the lesion's pixels.
  """
  side, small = max(picture.shape), _small(picture)
  head = _head(small)
  signal, mask, _ = lesions.add(_stream(number), head)
  fine = small - ndimage.gaussian_filter(small, 1.0)
  change = np.where(mask, signal + _GRAIN * fine - small, 0)
  # Back to the size and the frame of the slice.
  change = preparation.shrink(change.astype(np.float32), side)
  wide = Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST)
  top, left = ((side - own) // 2 for own in picture.shape)
  here = np.s_[top : top + picture.shape[0], left : left + picture.shape[1]]
  marks = np.asarray(wide)[here]
  drawn = picture / 255 + np.where(marks, change[here], 0)
  return np.where(marks, anatomy.digitize(drawn), picture), marks


def has_head(picture: UInt8[np.ndarray, "h w"]) -> bool:
  """True if a slice holds enough of a brain for a lesion."""
  small = _small(picture)
  if not (small > _BACKGROUND).any():
    return False
  return int((_brain(small)[0] > 0.9).sum()) >= _LEAST


def _small(picture: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
  """The slice in a square of the generated heads' size, in [0, 1]."""
  square = np.asarray(preparation.Pad().image(Image.fromarray(picture)))
  return preparation.shrink(square.astype(np.float32) / 255, anatomy.SIZE)


def _brain(
  small: Float[np.ndarray, "h w"],
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
  """How far each pixel is brain, and its depth as of `anatomy.Head`."""
  outline = _largest(small > _BACKGROUND)
  inside = ndimage.distance_transform_edt(outline)
  depth = 1 - inside / inside.max()
  return anatomy.step((1 - _SHELL) - depth, 0.03), depth


def _head(small: Float[np.ndarray, "h w"]) -> anatomy.Head:
  """The slice as one of the generated heads: where its brain is, its tones."""
  brain, depth = _brain(small)
  tissue = small[brain > 0.5]
  return anatomy.Head(
    signal=small,
    brain=brain,
    depth=depth,
    white=float(np.percentile(tissue, 75)),
    fluid=float(np.percentile(tissue, 3)),
  )


def _largest(marks: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
  """The largest region, without holes."""
  named, _ = ndimage.label(marks)
  sizes = np.bincount(named.ravel())[1:]
  return ndimage.binary_fill_holes(named == 1 + np.argmax(sizes))


def _stream(number: int) -> np.random.Generator:
  return np.random.default_rng([SEED, number])
