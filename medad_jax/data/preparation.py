"""Preparation: the named steps from a decoded picture to an array of one size.

Steps are values, and `parse` makes them from a text such as
"crop:224,equalize,resize:64". The mask of a picture goes through the same
geometry by the nearest pixel.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, Literal

from jaxtyping import Float, Float32, Shaped, UInt8
import numpy as np

from medad_jax.types import UserError

# A PIL.Image.Image: Pillow is imported late, as caches are read without it.
Picture = Any
# Gray levels from 0 to 255, which are whole numbers or, after `shrink`, not.
# One scale for both: whole levels stay exact in float32, so that a method can
# truncate fractional ones as its reference does.
Images = UInt8[np.ndarray, "n h w c"] | Float32[np.ndarray, "n h w c"]

_LARGEST = 8192  # pixels a side, as the range of data.image_size has it
_SHOWN = 80  # characters of a text in a sentence
_GRAMMAR = (
  "gray, crop:N, pad, equalize, resize:N, resize:N:lanczos, shorter:N,"
  " shorter:N:lanczos, shrink:N"
)


@dataclasses.dataclass(frozen=True)
class Gray:
  """The luminance of a color picture, its fraction cut off.

  Pillow 6.2 computed it so, with which DPA, PIAD and others were published.
  Without this step a picture becomes gray by today's Pillow, which rounds:
  about half of the pixels of a color photograph differ by one level.
  """

  def image(self, picture: Picture) -> Picture:
    """The gray picture; one that is gray stays as it is."""
    from PIL import Image

    pixels = np.asarray(picture)
    if pixels.ndim == 2:
      return picture
    # ITU-R 601-2 in 16 bits; equal channels give their own level exactly.
    sums = pixels.astype(np.int32) @ np.array([19595, 38470, 7471], np.int32)
    return Image.fromarray((sums >> 16).astype(np.uint8))

  def mask(self, picture: Picture) -> Picture:
    """The mask as it is, for it is gray."""
    return picture

  def __str__(self) -> str:
    return "gray"


@dataclasses.dataclass(frozen=True)
class Crop:
  """The middle square of `size` pixels.

  The offset is half the rest, rounded to the even number, as torchvision's
  CenterCrop has it.
  """

  size: int

  def image(self, picture: Picture) -> Picture:
    """The picture's middle; what lies outside of a smaller one is black."""
    left, top = (round((side - self.size) / 2) for side in picture.size)
    return picture.crop((left, top, left + self.size, top + self.size))

  mask = image

  def __str__(self) -> str:
    return f"crop:{self.size}"


@dataclasses.dataclass(frozen=True)
class Pad:
  """A square that holds the picture in its middle, filled with its minimum.

  Where the rest is odd, the lower or right side gets one pixel more.
  """

  def image(self, picture: Picture) -> Picture:
    """The square; each channel has its own minimum."""
    # RA's loader has it so: black would be a level that the scan lacks.
    lows = [low for low, _ in _extrema(picture)]
    return self._padded(picture, tuple(lows))

  def mask(self, picture: Picture) -> Picture:
    """The square; nothing is marked outside of the mask."""
    return self._padded(picture, (0,) * len(picture.getbands()))

  def _padded(self, picture: Picture, color: tuple) -> Picture:
    from PIL import Image

    side = max(picture.size)
    # Pillow wants a number, and not a tuple of one, for a single channel.
    fill = color if len(color) > 1 else color[0]
    square = Image.new(picture.mode, (side, side), fill)
    left, top = ((side - own) // 2 for own in picture.size)
    square.paste(picture, (left, top))
    return square

  def __str__(self) -> str:
    return "pad"


@dataclasses.dataclass(frozen=True)
class Equalize:
  """An equalized histogram of each channel, by Pillow's rule for 8 bits."""

  def image(self, picture: Picture) -> Picture:
    """The picture with gray levels spread."""
    from PIL import ImageOps

    # Its integer steps leave histograms of few pixels as they are.
    return ImageOps.equalize(picture)

  def mask(self, picture: Picture) -> Picture:
    """The mask as it is."""
    return picture

  def __str__(self) -> str:
    return "equalize"


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
    # The longer side is cut to whole pixels, as torchvision's Resize does.
    width, height = (self.size * side // short for side in picture.size)
    return width, height

  def __str__(self) -> str:
    name = "shorter" if self.shorter else "resize"
    # The usual filter goes without saying: two texts of one step would give
    # one set two caches.
    return f"{name}:{self.size}" + (
      "" if self.kernel == "bilinear" else f":{self.kernel}"
    )


@dataclasses.dataclass(frozen=True)
class Shrink:
  """The picture stretched to a square of fractional levels; the last step.

  Bilinear without antialiasing, so that most pixels of a much larger picture
  are not seen.

  Attributes:
    size: pixels of a side.
  """

  size: int

  def image(self, picture: Picture) -> Float32[np.ndarray, "..."]:
    """The levels, an array [size size] or [size size c]."""
    return shrink(np.asarray(picture, np.float32), self.size)

  def mask(self, picture: Picture) -> Picture:
    """The pixels that a marked one has a share in."""
    from PIL import Image

    found = shrink(np.asarray(picture.convert("L"), np.float32), self.size)
    return Image.fromarray(np.where(found > 0, np.uint8(255), np.uint8(0)))

  def __str__(self) -> str:
    return f"shrink:{self.size}"


Step = Gray | Crop | Pad | Equalize | Resize | Shrink


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
      if isinstance(step, Crop | Shrink) or (
        isinstance(step, Resize) and not step.shorter
      ):
        return step.size
      if not isinstance(step, Equalize | Gray):
        return None
    return None

  @property
  def dtype(self) -> type[np.generic]:
    """The type of the levels, uint8 or float32."""
    shrinks = any(isinstance(step, Shrink) for step in self.steps)
    return np.float32 if shrinks else np.uint8

  def image(
    self, picture: Picture, channels: int
  ) -> Shaped[np.ndarray, "h w channels"]:
    """The prepared picture, of `dtype`.

    Args:
      picture: of any mode.
      channels: 1 (gray) or 3 (RGB).
    """
    picture = picture.convert(self._mode(channels))
    for step in self.steps:
      picture = step.image(picture)
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
      pixels = pixels[..., None]
    # A gray step may come before a net of three channels.
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))

  def mask(self, picture: Picture) -> Picture:
    """The mask that belongs to the prepared picture."""
    for step in self.steps:
      picture = step.mask(picture)
    return picture

  def _mode(self, channels: int) -> str:
    """Pillow's mode of the picture that the first step sees."""
    # Pillow's own conversion would leave nothing to a gray step.
    if any(isinstance(step, Gray) for step in self.steps):
      return "RGB"
    return "L" if channels == 1 else "RGB"

  def __str__(self) -> str:
    return ",".join(map(str, self.steps))


def parse(text: str, size: int) -> Preparation:
  """The preparation that a text names.

  Args:
    text: "stretch" to the square, as DDAD-ASR and MedIAnomaly do; "crop": the
      shorter side to the size, then the middle square, as NSA does; or steps
      with commas between, in their order. `gray` (see `Gray`), `crop:N` (the
      middle N pixels), `pad` (to a square), `equalize` (the histogram),
      `resize:N` (to a square), `shorter:N` (the shorter side), `shrink:N` (to
      a square of fractional levels). `resize` and `shorter` are bilinear, or
      `resize:N:lanczos`.
    size: of the squares that it must end with, pixels a side.

  Raises:
    UserError: it names none, or one that ends with another size.
  """
  if text == "stretch":
    return Preparation((Resize(size),))
  if text == "crop":
    return Preparation((Resize(size, "lanczos", shorter=True), Crop(size)))
  found = Preparation(
    tuple(_step(part.strip(), text) for part in text.split(","))
  )
  if any(isinstance(step, Shrink) for step in found.steps[:-1]):
    raise UserError(
      f"data.preparation='{text[:_SHOWN]}' goes on after shrink, which leaves"
      " fractional levels and no picture; make it the last step."
    )
  if found.size != size:
    ends = f"squares of {found.size} pixels" if found.size else "any shape"
    raise UserError(
      f"data.preparation='{text[:_SHOWN]}' ends with {ends}, but squares of"
      f" {size} pixels are stored; end it with resize:{size}, say, or set"
      " data.stored_size (without it, data.image_size) to match."
    )
  return found


def to_uint8(
  images: Shaped[np.ndarray, "*n h w c"],
) -> UInt8[np.ndarray, "*n h w c"]:
  """Whole gray levels, for those who draw images or take them apart."""
  if images.dtype == np.uint8:
    return images
  return np.clip(np.round(images), 0, 255).astype(np.uint8)


def shrink(
  image: Float[np.ndarray, "h w *c"], size: int
) -> Float[np.ndarray, "size size *c"]:
  """A float image at another size, bilinear without antialiasing.

  Pixels have half-integer centers, and those outside repeat the edge:
  `torch.nn.functional.interpolate(align_corners=False)`.
  """
  return _shrunk(_shrunk(image, size, 0), size, 1)


def _shrunk(image, size, axis):
  """The image with one side at another size."""
  side = image.shape[axis]
  # Pixel centers are at half-integers on both scales.
  at = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, None)
  low = np.minimum(at.astype(int), side - 1)
  high = np.minimum(low + 1, side - 1)  # the edge repeats itself
  # float32, as in the reference: doubles would differ in the last digit.
  part = (at - low).astype(np.float32)
  part = part.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
  return image.take(low, axis) * (1 - part) + image.take(high, axis) * part


_PLAIN: Mapping[str, Step] = {
  "gray": Gray(),
  "pad": Pad(),
  "equalize": Equalize(),
}
_SIZED: Mapping[str, Callable[[int], Step]] = {
  "crop": Crop,
  "resize": Resize,
  "shorter": functools.partial(Resize, shorter=True),
  "shrink": Shrink,
}


def _step(part: str, text: str) -> Step:
  """One step of a text."""
  name, _, rest = part.partition(":")
  size, _, kernel = rest.partition(":")
  if part in _PLAIN:
    return _PLAIN[part]
  # Longer numbers are out of the range, and Python refuses the longest.
  if name in _SIZED and size.isdecimal() and len(size) <= 4:
    step = _SIZED[name](int(size))
    if 1 <= int(size) <= _LARGEST:
      if rest == size:
        return step
      if kernel == "lanczos" and isinstance(step, Resize):
        return dataclasses.replace(step, kernel="lanczos")
  raise UserError(
    f"data.preparation='{text[:_SHOWN]}' has '{part[:_SHOWN]}', which is no"
    f" step; write stretch, or crop, or steps with commas between, of"
    f" {_GRAMMAR} (N from 1 to {_LARGEST})."
  )


def _extrema(picture: Picture) -> Sequence[tuple]:
  """The least and the greatest level of each channel."""
  found = picture.getextrema()
  # Pillow gives one pair, and not a tuple of one, for a single channel.
  return found if isinstance(found[0], tuple) else [found]
