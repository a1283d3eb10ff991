"""One generated scan: a function of seed, number, class and organ."""

import dataclasses
import io

from jaxtyping import Bool, UInt8
import numpy as np
from PIL import Image

from medad_jax.data.phantom import anatomy, chest, lesions

SEED = 20240607
# By organ, how a healthy slice is drawn.
ORGANS = {"brain": anatomy.head, "chest": chest.chest}


@dataclasses.dataclass(frozen=True)
class Scan:
  """A generated image.

  Attributes:
    image: 0 to 255.
    mask: where the lesion is; empty in a healthy slice.
    kind: the kind of lesion, or 'healthy'.
  """

  image: UInt8[np.ndarray, "h w"]
  mask: Bool[np.ndarray, "h w"]
  kind: str


def render(
  number: int, abnormal: bool, seed: int = SEED, organ: str = "brain"
) -> Scan:
  """Draws scan `number`.

  The healthy and the abnormal scan of one number are twins: the same body in
  the same scanner, different inside the mask only.
  """
  head = ORGANS[organ](_stream(seed, number, 0))
  signal, kind = head.signal, "healthy"
  mask = np.zeros(signal.shape, bool)
  if abnormal:
    signal, mask, kind = lesions.add(_stream(seed, number, 2), head)
  seen = anatomy.acquire(_stream(seed, number, 1), signal)
  return Scan(anatomy.digitize(seen), mask, kind)


def encode(
  number: int, abnormal: bool, organ: str = "brain"
) -> tuple[bytes, bytes]:
  """A scan and its mask as PNG files."""
  scan = render(number, abnormal, organ=organ)
  return _png(scan.image), _png(np.where(scan.mask, np.uint8(255), np.uint8(0)))


def _stream(seed: int, number: int, part: int) -> np.random.Generator:
  return np.random.default_rng([seed, number, part])


def _png(image: UInt8[np.ndarray, "h w"]) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, "PNG")
  return buffer.getvalue()
