"""Linear interpolation on a line, as a matrix."""

import numpy as np


def corners_on_corners(given: int, wanted: int) -> np.ndarray:
  """Weights [wanted, given]; the first and last places stay where they are.

  PyTorch's `align_corners=True`, which `jax.image.resize` does not know.
  """
  at = np.linspace(0, given - 1, wanted)
  return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(given)))
