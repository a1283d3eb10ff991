"""The geometric view of the self-supervised methods: turn, crop, crop again.

Schlüter et al., "Natural Synthetic Anomalies", ECCV 2022, as its code prepares
chest X-rays. All lengths are shares of the shorter side; at 256 pixels they are
the published ones (230, then 224). The outer ring is never seen.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from medad_jax import rng

# Degrees to either side.
_TURN = 3.0


def side_of(frame: int) -> int:
  """Pixels of a view's side, from those of the image's: 224 of 256."""
  return frame * 7 // 8


def view(
  key: PRNGKeyArray, image: Shaped[Array, "h w c"]
) -> Shaped[Array, "t t c"]:
  """One training view: turned a little, then cropped at random.

  The image is turned about its center by U[-3, 3) degrees, cropped around the
  center to 230/256 of its shorter side, then to t = `side_of(shorter side)` at
  an offset uniform in 0..6 (of 256) for rows and columns each. What the turn
  brings in from outside never reaches the crop.

  Args:
    key: of this view.
    image: of any type; the values stay as they are (nearest neighbor).
  """
  height, width, _ = image.shape
  shorter = min(height, width)
  middle = round(shorter * 230 / 256)
  slack = middle - side_of(shorter)
  degrees = jax.random.uniform(
    rng.stream(key, "turn"), minval=-_TURN, maxval=_TURN
  )
  offset = jax.random.randint(rng.stream(key, "crop"), (2,), 0, slack + 1)
  corner = jnp.array([_margin(height, middle), _margin(width, middle)])
  return turned_crop(image, degrees, corner + offset, side_of(shorter))


def turned_crop(
  image: Shaped[Array, "h w c"],
  degrees: Float[Array, ""],
  corner: Shaped[Array, "2"],
  side: int,
) -> Shaped[Array, "side side c"]:
  """A square of the turned image, as one gather.

  Pillow's rule for nearest neighbors: the place of a pixel's center, turned
  back, rounded down. (Pillow counts in 1/65536 pixels; one pixel in a thousand
  differs.)

  Args:
    image: of any type.
    degrees: counterclockwise.
    corner: top and left of the square, in pixels of the turned image.
    side: pixels of the square.

  Returns:
    The square; pixels from outside the image repeat its border.
  """
  height, width, _ = image.shape
  angle = -jnp.deg2rad(degrees)
  cosine, sine = jnp.cos(angle), jnp.sin(angle)
  y, x = jnp.ogrid[:side, :side]
  y = y + corner[0] + 0.5 - height / 2
  x = x + corner[1] + 0.5 - width / 2
  rows = jnp.floor(cosine * y - sine * x + height / 2)
  columns = jnp.floor(sine * y + cosine * x + width / 2)
  rows = jnp.clip(rows, 0, height - 1).astype(jnp.int32)
  columns = jnp.clip(columns, 0, width - 1).astype(jnp.int32)
  return image[rows, columns]


def center(image: Shaped[Array, "*b h w c"]) -> Shaped[Array, "*b t t c"]:
  """The test view: the middle square of `side_of(shorter side)` pixels.

  Where one pixel is over, the margin is rounded to the even number.
  """
  height, width = image.shape[-3:-1]
  side = side_of(min(height, width))
  top, left = _margin(height, side), _margin(width, side)
  return image[..., top : top + side, left : left + side, :]


def _margin(size: int, inner: int) -> int:
  return round((size - inner) / 2)
