"""The 72 geometric transformations of Golan and El-Yaniv (NeurIPS 2018).

A left-right flip or none, a translation by -m, 0 or +m along each side, and 0
to 3 quarter turns, in this order. All are exact: pixels are moved, and where a
translation looks beyond the edge they are repeated in mirror order.
"""

import functools
import itertools

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32
import numpy as np

COUNT = 72


def transform(
  image: Float[Array, "b n n c"], number: Int[Array, "b"], translation: int
) -> Float[Array, "b n n c"]:
  """Each image under the transformation of its own number.

  Args:
    image: square images.
    number: in [0, 72): ((flip * 3 + down) * 3 + right) * 4 + quarter turns,
      where 0, 1 and 2 are translations by 0, -m and +m pixels.
    translation: m.
  """
  b, side, _, c = image.shape
  # By index, as interpolation would round; and inside the step, so that no
  # transformed copy of a data set exists.
  source = jnp.asarray(table(side, translation))[number]
  pixels = image.reshape(b, side * side, c)
  moved = jnp.take_along_axis(pixels, source[..., None], axis=1)
  return moved.reshape(image.shape)


@functools.cache
def table(side: int, translation: int) -> Int32[np.ndarray, "72 pixels"]:
  """The pixel that comes to each place, as row * side + column.

  Args:
    side: of the images.
    translation: pixels.
  """
  pixels = np.arange(side * side, dtype=np.int32).reshape(side, side)
  shifts = (0, -translation, translation)
  found = []
  for flip, down, right, turns in itertools.product(
    (False, True), shifts, shifts, range(4)
  ):
    image = pixels[:, ::-1] if flip else pixels
    # "symmetric" repeats the edge itself, as Keras's fill_mode="reflect" does.
    wide = np.pad(image, translation, "symmetric")
    top, left = translation + down, translation + right
    moved = wide[top : top + side, left : left + side]
    found.append(np.rot90(moved, turns).ravel())
  return np.stack(found)
