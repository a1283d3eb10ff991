"""Normalization of stains in the manner of Vahadane et al. (TMI 2016).

An image is a product of two stains' colors and their concentrations. It gets
the colors of a target; concentrations stay what they are, and are not scaled to
the target's range.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float64, Int64, UInt8
import numpy as np

from data_builders.camelyon16 import dictionary
from data_builders.camelyon16.slide import SlideError

_WHITE = 90  # the percentile of all channels that becomes 255
_LIGHTEST = 0.8  # a pixel that is lighter has no stain
_SPARSITY = 0.01  # of concentrations; dictionaries are learned with another
# OpenCV's whole numbers of CIE L*, for 8 bits a channel: bits of a linear level
# below one of 255, bits of a weight, and the weights of the channels.
_LEVEL_BITS, _WEIGHT_BITS = 3, 12
_WEIGHTS = np.array([871, 2929, 296])
_ROOT_BITS = _LEVEL_BITS + _WEIGHT_BITS


class Pixels(NamedTuple):
  """The different colors of an image, of which there are far fewer than pixels.

  Attributes:
    colors: of the brightened image, in the order of numbers.
    counts: pixels of each color.
    places: of each pixel's color among them, row by row.
    stained: whether a color is dark enough to show a stain.
  """

  colors: UInt8[np.ndarray, "n 3"]
  counts: Int64[np.ndarray, "n"]
  places: Int64[np.ndarray, "p"]
  stained: Bool[np.ndarray, "n"]

  @property
  def density(self) -> Float64[np.ndarray, "3 n"]:
    """Optical density of each color; black counts as the darkest gray."""
    # Of 256 levels there are few logarithms.
    return -np.log(np.maximum(np.arange(256), 1) / 255.0)[self.colors.T]


def pixels_of(image: UInt8[np.ndarray, "h w 3"]) -> Pixels:
  """The colors of an image whose bright parts are made white."""
  flat = brightened(image).reshape(-1, 3).astype(np.int64)
  keys = (flat[:, 0] << 16) | (flat[:, 1] << 8) | flat[:, 2]
  unique, places, counts = np.unique(
    keys, return_inverse=True, return_counts=True
  )
  colors = np.stack([unique >> 16, (unique >> 8) & 255, unique & 255], 1)
  colors = colors.astype(np.uint8)
  stained = lightness(colors) / 255 < _LIGHTEST
  return Pixels(colors, counts, places, stained)


def brightened(
  image: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
  """The image, scaled so that its 90th percentile is white.

  Raises:
    SlideError: it is black.
  """
  white = np.percentile(image, _WHITE)
  if white == 0:
    raise SlideError("it is black")
  return np.clip(image * 255.0 / white, 0, 255).astype(np.uint8)


def lightness(
  colors: UInt8[np.ndarray, "n 3"],
) -> Int64[np.ndarray, "n"]:
  """CIE L* from 0 to 255 as OpenCV rounds it, bit for bit."""
  level = np.arange(256) / 255
  linear = np.where(
    level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4
  )
  linear = np.rint((255 << _LEVEL_BITS) * linear).astype(np.int64)
  half = 1 << (_WEIGHT_BITS - 1)
  luminance = (linear[colors] @ _WEIGHTS + half) >> _WEIGHT_BITS
  of = np.arange((255 << _LEVEL_BITS) + 2) / (255 << _LEVEL_BITS)
  root = np.where(of < 0.008856, of * 7.787 + 16 / 116, np.cbrt(of))
  root = np.rint((1 << _ROOT_BITS) * root).astype(np.int64)
  scale = (116 * 255 + 50) // 100
  shift = (16 * 255 * (1 << _ROOT_BITS) + 50) // 100
  half = 1 << (_ROOT_BITS - 1)
  return (scale * root[luminance] - shift + half) >> _ROOT_BITS


def learn(pixels: Pixels) -> Float64[np.ndarray, "2 3"]:
  """The two stains of an image, as `dictionary.learn` gives them.

  Raises:
    SlideError: no pixel is dark enough to show one.
  """
  if not pixels.stained.any():
    raise SlideError("no pixel is dark enough to show a stain")
  of = pixels.stained
  return dictionary.learn(pixels.density[:, of], pixels.counts[of])


def concentrations(
  density: Float64[np.ndarray, "3 n"], stains: Float64[np.ndarray, "2 3"]
) -> Float64[np.ndarray, "2 n"]:
  """The non-negative, sparse concentrations of stains."""
  return dictionary.codes(density, stains, _SPARSITY)


def normalized(
  image: UInt8[np.ndarray, "h w 3"], target: Float64[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "h w 3"]:
  """The image with the stains of a target in the place of its own.

  Raises:
    SlideError: it shows no stain.
  """
  pixels = pixels_of(image)
  found = concentrations(pixels.density, learn(pixels))
  colors = (255 * np.exp(-(found.T @ target))).astype(np.uint8)
  return colors[pixels.places].reshape(image.shape)
