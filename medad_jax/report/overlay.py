"""Overlays: an image with the parts marked that are above a scale's start."""

import io

from jaxtyping import Float, UInt8
import numpy as np

_COLOR = np.array([255.0, 60.0, 0.0])
_STRONGEST = 0.75  # share of the color where a map is twice the anchor


def draw(
  image: UInt8[np.ndarray, "h w c"],
  map_: Float[np.ndarray, "h w"],
  anchor: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """The image, redder the further its map is above the anchor.

  What is below the anchor stays as it is, so that images of one scale can be
  compared and a healthy one is quiet.

  Args:
    image: gray or RGB.
    map_: of the same sides.
    anchor: the value at which color begins; above 0.
  """
  above = np.clip(map_ / anchor - 1, 0, 1)[..., None] * _STRONGEST
  mixed = image.astype(np.float64) * (1 - above) + _COLOR * above
  return np.round(mixed).astype(np.uint8)


def png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """The image as the content of a PNG file."""
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG")
  return buffer.getvalue()
