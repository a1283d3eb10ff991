"""Linear interpolation: corners or areas in place, or as Pillow has it."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32
import numpy as np


def corners_on_corners(
  x: Float[Array, "b h w c"], sides: tuple[int, int]
) -> Float[Array, "b y x c"]:
  """Images of other sides; the centers of their corner pixels stay in place.

  PyTorch's `align_corners=True`. `jax.image.scale_and_translate` computes it
  too, but places its samples in float32: from 64 to 128 pixels it errs by 1e-5.
  """
  return _interpolated(
    x, sides, lambda given, wanted: np.linspace(0, given - 1, wanted)
  )


def edges_on_edges(
  x: Float[Array, "b h w c"], sides: tuple[int, int]
) -> Float[Array, "b y x c"]:
  """Images of other sides, whose outer edges stay in place.

  PyTorch's `align_corners=False`, without smoothing where sides shrink. Beyond
  the centers of the border pixels the image is constant.
  """

  def centers(given, wanted):
    at = (np.arange(wanted) + 0.5) * given / wanted - 0.5
    return np.clip(at, 0, given - 1)

  return _interpolated(x, sides, centers)


def _interpolated(x, sides, places):
  """Interpolation at `places(given, wanted)` along rows and columns."""
  rows, columns = (
    jnp.asarray(_weights(places(given, wanted), given), x.dtype)
    for given, wanted in zip(x.shape[1:3], sides, strict=True)
  )
  return jnp.einsum("bijc,yi,xj->byxc", x, rows, columns, precision="highest")


def pillow_bilinear(
  levels: Int32[Array, "b h w c"], side: int
) -> Int32[Array, "b side side c"]:
  """Square images of gray levels, the pixels that Pillow's BILINEAR gives.

  Pillow resizes along rows and then along columns, each time with weights of
  22 bits, and rounds to whole levels in between. Where an image shrinks, its
  filter grows with it.

  Args:
    levels: 0 to 255.
    side: pixels.
  """
  for axis in (2, 1):
    places, weights = _pillow_taps(levels.shape[axis], side)
    shape = [1] * 4
    shape[axis] = side
    # One weight at a time, as all of them would take several images' memory.
    total = jnp.full((), 1 << (_BITS - 1), jnp.int32)
    for place, weight in zip(places.T, weights.T, strict=True):
      moved = jnp.take(levels, jnp.asarray(place), axis)
      total = total + moved * jnp.asarray(weight).reshape(shape)
    levels = jnp.clip(total >> _BITS, 0, 255)
  return levels


_BITS = 22  # of Pillow's weights


def _pillow_taps(given, wanted):
  """Places and int32 weights of the pixels that make each new one."""
  scale = given / wanted
  spread = max(scale, 1.0)
  center = (np.arange(wanted) + 0.5) * scale
  first = np.maximum((center - spread + 0.5).astype(int), 0)
  last = np.minimum((center + spread + 0.5).astype(int), given)
  places = first[:, None] + np.arange((last - first).max())
  weights = 1 - np.abs(places + 0.5 - center[:, None]) / spread
  weights = np.where(places < last[:, None], np.maximum(weights, 0), 0)
  weights /= weights.sum(1, keepdims=True)
  whole = (weights * (1 << _BITS) + 0.5).astype(np.int32)
  return np.minimum(places, given - 1), whole


def _weights(at, given):
  """A matrix [wanted, given] that interpolates along a line."""
  return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(given)))
