"""Patches at half and at a quarter of their magnification."""

from jaxtyping import UInt8
import numpy as np
from scipy import ndimage


def shrunk(
  image: UInt8[np.ndarray, "h w 3"], factor: int
) -> UInt8[np.ndarray, "h/factor w/factor 3"]:
  """The image at 1 / factor of its size, as scikit-image 0.16 shrinks it.

  That version blurs the whole levels, and cuts the fractions off after each
  axis, which makes images darker than later versions do. Then it interpolates
  linearly at the middles of the new pixels.

  Args:
    image: whose sides are multiples of the factor.
    factor: 1, which leaves it as it is, 2 or 4.
  """
  if factor == 1:
    return image
  blur = (factor - 1) / 2
  blurred = ndimage.gaussian_filter(image, (blur, blur, 0), mode="mirror")
  height, width = (side // factor for side in image.shape[:2])
  parts = blurred.reshape(height, factor, width, factor, 3)
  # A new pixel's middle is between the two middle ones.
  near = slice(factor // 2 - 1, factor // 2 + 1)
  return np.rint(parts[:, near, :, near].mean((1, 3))).astype(np.uint8)
