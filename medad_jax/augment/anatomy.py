"""Masks of the anatomy in an image, for AnatPaste; on the host.

The threshold finds the lungs in chest radiographs, and dark tissue in other
images.
"""

from jaxtyping import Bool, UInt8
import numpy as np

from medad_jax import types

_SMALLEST, _PUBLISHED_AREA = 400, 224**2  # pixels


def masks(images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, "n h w"]:
  """The dark parts that are large and do not touch the border.

  The gray image's contrast is equalized in tiles of an eighth of the side
  (CLAHE). What is not above Otsu's threshold, and not black, is opened,
  cleared of what touches the border and dilated, each with squares of 3x3.
  The bounding boxes of small components are emptied. (The published code
  means to select the bright part, but compares with the wrong variable. It is
  followed: that is what finds the lungs.)

  Small is below 400 pixels of 224x224, which is scaled with the area.

  Args:
    images: gray or RGB, of height and width 32 or more.

  Returns:
    A mask for each image. That of a constant image is empty.

  Raises:
    UserError: the images are smaller, or have neither 1 nor 3 channels.
  """
  _, height, width, channels = images.shape
  if min(height, width) < 32 or channels not in (1, 3):
    raise types.UserError(
      f"Images of {height}x{width} pixels and {channels} channels were given;"
      " the anatomy is looked for in 1 or 3 channels of 32x32 pixels or more:"
      " set data.image_size to 32 or more."
    )
  found = np.zeros(images.shape[:3], bool)
  for i, image in enumerate(images):
    found[i] = _mask(image)
  return found


def _mask(image):
  from skimage import exposure, filters, measure, morphology, segmentation

  gray = _luminance(image)
  if gray.min() == gray.max():
    return np.zeros(gray.shape, bool)
  equal = exposure.equalize_adapthist(gray, clip_limit=0.01)
  dark = (0 < equal) & (equal <= filters.threshold_otsu(equal))
  square = np.ones((3, 3), bool)
  dark = segmentation.clear_border(morphology.opening(dark, square))
  labels = measure.label(morphology.dilation(dark, square))
  kept = labels > 0
  for region in measure.regionprops(labels):
    if region.area * _PUBLISHED_AREA < _SMALLEST * gray.size:
      kept[region.slice] = False
  return kept


def _luminance(image):
  """Pillow's gray image."""
  if image.shape[-1] == 1:
    return image[..., 0]
  weighted = image @ np.array([19595, 38470, 7471])
  return ((weighted + 32768) >> 16).astype(np.uint8)
