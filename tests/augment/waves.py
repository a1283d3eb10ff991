"""Two smooth discs, of which published numbers exist at 224 pixels."""

import numpy as np


def disc(phase: tuple[int, int], periods: tuple[int, int]) -> np.ndarray:
  """Waves inside a disc of radius 100 and nothing outside, uint8."""
  y, x = np.mgrid[:224, :224]
  rows = np.sin(2 * np.pi * (y + phase[0]) / periods[0])
  columns = np.cos(2 * np.pi * (x + phase[1]) / periods[1])
  inside = (y - 111.5) ** 2 + (x - 111.5) ** 2 <= 100**2
  return np.where(inside, np.floor(128 + 60 * rows * columns), 0).astype(
    np.uint8
  )


IMAGE = disc((0, 0), (37, 29))
SOURCE = disc((11, 5), (31, 41))
