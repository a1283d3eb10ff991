"""Preparation: the named steps from a decoded picture to an array of one size.

Steps are values, so that a preparation can be compared, hashed and named. The
mask of a picture goes through the same geometry by the nearest pixel.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any, Literal

from jaxtyping import Float, Shaped
import numpy as np

# A PIL.Image.Image: Pillow is imported late, as caches are read without it.
Picture = Any


@dataclasses.dataclass(frozen=True)
class Crop:
  """The middle square of `size` pixels.

  The offset is half the rest, rounded to the even number, as torchvision's
  CenterCrop has it.
  """

  size: int

  def image(self, picture: Picture) -> Picture:
    """The picture's middle."""
    left, top = (round((side - self.size) / 2) for side in picture.size)
    return picture.crop((left, top, left + self.size, top + self.size))

  mask = image


@dataclasses.dataclass(frozen=True)
class Pad:
  """A square that holds the picture in its middle, filled with its minimum.

  Where the rest is odd, the lower or right side gets one pixel more.
  """

  def image(self, picture: Picture) -> Picture:
    """The square; each channel has its own minimum."""
    lows = [low for low, _ in _extrema(picture)]
    return self._padded(picture, tuple(lows))

  def mask(self, picture: Picture) -> Picture:
    """The square; nothing is marked outside of the mask."""
    return self._padded(picture, (0,) * len(picture.getbands()))

  def _padded(self, picture: Picture, color: tuple) -> Picture:
    from PIL import Image

    side = max(picture.size)
    fill = color if len(color) > 1 else color[0]
    square = Image.new(picture.mode, (side, side), fill)
    left, top = ((side - own) // 2 for own in picture.size)
    square.paste(picture, (left, top))
    return square


@dataclasses.dataclass(frozen=True)
class Equalize:
  """An equalized histogram of each channel, by Pillow's rule for 8 bits."""

  def image(self, picture: Picture) -> Picture:
    """The picture with gray levels spread."""
    from PIL import ImageOps

    return ImageOps.equalize(picture)

  def mask(self, picture: Picture) -> Picture:
    """The mask as it is."""
    return picture


@dataclasses.dataclass(frozen=True)
class Resize:
  """The picture at another size.

  Attributes:
    size: pixels of a side.
    kernel: Pillow's filter. It is antialiased: its support grows with the
      reduction, and its two passes each round to 8 bits.
    shorter: whether the shorter side gets that size, and the aspect stays;
      otherwise the picture is stretched to a square.
  """

  size: int
  kernel: Literal["bilinear", "lanczos"] = "bilinear"
  shorter: bool = False

  def image(self, picture: Picture) -> Picture:
    """The resized picture."""
    return self._resized(picture, self.kernel)

  def mask(self, picture: Picture) -> Picture:
    """The resized mask: the nearest pixels."""
    return self._resized(picture, "nearest")

  def _resized(self, picture: Picture, kernel: str) -> Picture:
    from PIL import Image

    kind = Image.Resampling[kernel.upper()]
    return picture.resize(self._sides(picture), kind)

  def _sides(self, picture: Picture) -> tuple[int, int]:
    if not self.shorter:
      return self.size, self.size
    short = min(picture.size)
    width, height = (self.size * side // short for side in picture.size)
    return width, height


Step = Crop | Pad | Equalize | Resize


@dataclasses.dataclass(frozen=True)
class Preparation:
  """The steps that make one array of every picture of a set.

  Attributes:
    steps: in their order.
  """

  steps: tuple[Step, ...]

  @property
  def size(self) -> int | None:
    """The side of the square that it ends with; None where there is none."""
    for step in reversed(self.steps):
      if isinstance(step, Crop) or (
        isinstance(step, Resize) and not step.shorter
      ):
        return step.size
      if not isinstance(step, Equalize):
        return None
    return None

  def image(self, picture: Picture) -> Picture:
    """The prepared picture."""
    for step in self.steps:
      picture = step.image(picture)
    return picture

  def mask(self, picture: Picture) -> Picture:
    """The mask that belongs to the prepared picture."""
    for step in self.steps:
      picture = step.mask(picture)
    return picture


def named(resize: str, size: int) -> Preparation:
  """The preparation of a short name.

  Args:
    resize: "stretch" to the square, as DDAD-ASR and MedIAnomaly do; or "crop":
      the shorter side to the size, then the middle square, as NSA does.
    size: of a side, pixels.
  """
  if resize == "stretch":
    return Preparation((Resize(size),))
  return Preparation((Resize(size, "lanczos", shorter=True), Crop(size)))


def shrink(
  image: Float[np.ndarray, "h w"], size: int
) -> Float[np.ndarray, "size size"]:
  """A float image at another size, bilinear without antialiasing.

  Pixels have half-integer centers, and those outside repeat the edge:
  `torch.nn.functional.interpolate(align_corners=False)`.
  """
  rows, columns = (_neighbors(side, size) for side in image.shape)
  low, high, part = rows
  image = image[low] * (1 - part)[:, None] + image[high] * part[:, None]
  low, high, part = columns
  return image[:, low] * (1 - part) + image[:, high] * part


def _neighbors(side: int, size: int) -> Sequence[Shaped[np.ndarray, "size"]]:
  """The pixels around each new one, and the share of the second."""
  at = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, None)
  low = np.minimum(at.astype(int), side - 1)
  part = (at - low).astype(np.float32)
  return low, np.minimum(low + 1, side - 1), part


def _extrema(picture: Picture) -> Sequence[tuple]:
  found = picture.getextrema()
  return found if isinstance(found[0], tuple) else [found]
