"""Places of patches on the overview of a slide."""

from jaxtyping import Bool, UInt8
import numpy as np
from scipy import ndimage
from skimage import color, filters

from data_builders.camelyon16 import tumor_mask
from data_builders.camelyon16.recipe import BLOCK, MOST
from data_builders.camelyon16.slide import SlideError

_TALL = 700  # rows of an overview that is cropped in the second way
_FRAME = 30  # pixels that are no tissue, on all sides
_TALL_ROWS, _TALL_COLUMNS = 100, 50  # rows above and below, columns on the left


def cells(overview: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "r c"]:
  """Blocks of 3 x 3 pixels that are tissue altogether.

  Tissue is darker than Otsu's threshold. What is near the edges is none, and
  what is narrower than three pixels.

  Raises:
    SlideError: the overview shows no tissue.
  """
  gray = color.rgb2gray(overview)
  found = gray <= filters.threshold_otsu(gray)
  found &= _inside(gray.shape)
  found = ndimage.binary_opening(found, np.ones((3, 3)))
  # The threshold of an even image is its gray level.
  if not found.any() or gray.min() == gray.max():
    raise SlideError("it shows no tissue")
  # A block that is not whole is padded with what is no tissue.
  return _blocks(found).all((1, 3))


def tumor_cells(
  tissue: Bool[np.ndarray, "r c"], mask: UInt8[np.ndarray, "h w"]
) -> Bool[np.ndarray, "r c"]:
  """Blocks of tissue that are tumor altogether.

  Their mean, cut to a whole number, is that of tumor: as published, one that
  has a hole and what is no tumor in the right shares counts, too.
  """
  means = _blocks(mask.astype(np.float64)).mean((1, 3))
  return tissue & (means.astype(np.uint8) == tumor_mask.TUMOR)


def draw(
  found: Bool[np.ndarray, "r c"], random: np.random.RandomState
) -> list[tuple[int, int]]:
  """Draws at most 50 of the blocks: (row, column), in random order."""
  places = [(int(row), int(column)) for row, column in np.argwhere(found)]
  random.shuffle(places)
  return places[:MOST]


def _inside(shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
  inside = np.zeros(shape, bool)
  if shape[0] > _TALL:
    inside[_TALL_ROWS:-_TALL_ROWS, _TALL_COLUMNS:] = True
  else:
    inside[_FRAME:-_FRAME, _FRAME:-_FRAME] = True
  return inside


def _blocks(image: np.ndarray) -> np.ndarray:
  """Blocks [r 3 c 3] of an image that is padded with zeros."""
  rows, columns = (-(-side // BLOCK) for side in image.shape)
  missing = [
    (0, n * BLOCK - side)
    for n, side in zip((rows, columns), image.shape, strict=True)
  ]
  return np.pad(image, missing).reshape(rows, BLOCK, columns, BLOCK)
