"""Fidelity: how close reconstructions come to their images.

Numbers of `Fidelity` are means over images whose gray values are in [0, 1].
"""

import dataclasses

from jaxtyping import Float
import numpy as np
from scipy import ndimage

_WINDOW = 7  # pixels of a side of the SSIM's uniform window
_C1, _C2 = 0.01**2, 0.03**2


@dataclasses.dataclass(frozen=True)
class Fidelity:
  """The mean over a test set, normal and abnormal images alike.

  Attributes:
    mae: mean absolute error; RA's released evaluation calls it "MSE".
    ssim: structural similarity; None for images below 7 x 7 pixels.
    lpips_alex: LPIPS distance by AlexNet, of images fed in [0, 1] as by RA's
      evaluation; None for methods without that net.
  """

  mae: float
  ssim: float | None
  lpips_alex: float | None = None


def mean_absolute_error(
  image: Float[np.ndarray, "b h w c"], x_hat: Float[np.ndarray, "b h w c"]
) -> Float[np.ndarray, "b"]:
  """Mean absolute error of each image, float64."""
  return np.mean(np.abs(image - x_hat), (1, 2, 3), dtype=float)


def structural_similarity(
  image: Float[np.ndarray, "b h w c"], x_hat: Float[np.ndarray, "b h w c"]
) -> Float[np.ndarray, "b"] | None:
  """SSIM of each image (Wang et al., 2004), float64; None below 7 x 7 pixels.

  As scikit-image's `structural_similarity` by default: a uniform window of
  7 x 7, sample covariances, the mean of all places where the window lies inside
  the image, here also over the channels.

  Args:
    image: gray values in [0, 1].
    x_hat: the same of the reconstructions.
  """
  if min(image.shape[1:3]) < _WINDOW:
    return None
  x, y = image.astype(float), x_hat.astype(float)
  mean_x, mean_y = _means(x), _means(y)
  # Sample covariances divide by one less than the pixels of the window.
  unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
  var_x = unbiased * (_means(x * x) - mean_x**2)
  var_y = unbiased * (_means(y * y) - mean_y**2)
  both = unbiased * (_means(x * y) - mean_x * mean_y)
  above = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
  below = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
  return np.mean(above / below, (1, 2, 3))


def _means(values: np.ndarray) -> np.ndarray:
  """Means over all windows inside the image."""
  edge = _WINDOW // 2
  found = ndimage.uniform_filter(values, (0, _WINDOW, _WINDOW, 0))
  return found[:, edge:-edge, edge:-edge]
