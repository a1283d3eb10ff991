"""Overlays: an image with the parts marked that are above a scale's start."""

import io
from typing import Any

from jaxtyping import Float, Shaped, UInt8
import numpy as np

_COLOR = np.array([255.0, 60.0, 0.0])
# Shares of the color where a map exceeds the anchor, and by the span or more.
_WEAKEST, _STRONGEST = 0.25, 0.7


def draw(
  picture: Any, map_: Float[np.ndarray, "h w"], anchor: float, span: float
) -> UInt8[np.ndarray, "y x 3"]:
  """The picture, redder the further its map is above the anchor.

  What is below the anchor stays as it is, so that images of one scale can be
  compared and a healthy one is quiet.

  Args:
    picture: PIL.Image.Image, gray or RGB.
    map_: stretched over the whole picture, whatever its sides.
    anchor: the value above which color begins.
    span: how far above it color is the strongest; above 0.
  """
  from PIL import Image

  values = np.asarray(map_, np.float32)
  if values.shape[::-1] != picture.size:
    sized = Image.fromarray(values).resize(
      picture.size, Image.Resampling.BILINEAR
    )
    values = np.asarray(sized)
  share = _WEAKEST + (_STRONGEST - _WEAKEST) * (values - anchor) / span
  above = np.where(values > anchor, np.minimum(share, _STRONGEST), 0)[..., None]
  pixels = np.asarray(picture.convert("RGB"), np.float64)
  mixed = pixels * (1 - above) + _COLOR * above
  return np.round(mixed).astype(np.uint8)


def picture(image: Shaped[np.ndarray, "h w c"]) -> Any:
  """A prepared image as a PIL.Image.Image, gray or RGB."""
  from PIL import Image

  levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
  return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


def png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """The image as the content of a PNG file."""
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG")
  return buffer.getvalue()
