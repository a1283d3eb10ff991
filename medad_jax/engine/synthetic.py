"""Synthetic anomalies of a method, outside its training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import rng
from medad_jax.augment import paste
from medad_jax.data import preparation, resident
from medad_jax.types import Method, Phase

_MOST = 200  # images that anomalies are made of


def batch(method: Method, images: np.ndarray) -> dict[str, Any]:
  """Images [n h w c] as the method sees them when it makes anomalies.

  With a second image each, and with what the method prepares of them.
  """
  image = resident.normalize(jnp.asarray(images))
  found = {
    "image": image,
    # Always the image before, so that two calls can be compared.
    "source": jnp.roll(image, 1, 0),
    "slot": jnp.arange(len(images)),
  }
  for phase in method.phases():
    if isinstance(phase, Phase) and phase.inputs.prepare is not None:
      found |= phase.inputs.prepare(preparation.to_uint8(images))
  return found


def images(method: Method, normal: np.ndarray) -> np.ndarray | None:
  """Images with anomalies, made of some of the normal ones [n h w c].

  None where the method makes none, or there is no normal image. A method that
  does has `synthesize(keys, batch)`, which returns images in [-1, 1].
  """
  synthesize = getattr(method, "synthesize", None)
  if synthesize is None or not len(normal):
    return None
  count = min(_MOST, len(normal))
  some = np.asarray(normal[np.arange(count) * len(normal) // count])
  # A fixed seed: every evaluation shows the same anomalies.
  keys = rng.per_example(jax.random.key(0), jnp.arange(count))
  made = jax.jit(synthesize)(keys, batch(method, some))
  return _stored(made, some.dtype)


def pasted(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Anomalies that need no method: squares of other images blended in.

  Args:
    normal: gray levels [n h w c] of normal images.

  Returns:
    Those in which a square was changed [m h w c], and the rows they are made
    of [m]. Always the same for the same images.
  """
  image = resident.normalize(jnp.asarray(normal))
  keys = rng.per_example(jax.random.key(0), jnp.arange(len(normal)))
  made, masks = jax.jit(jax.vmap(paste.paste))(
    keys, image, jnp.roll(image, 1, 0)
  )
  rows = np.flatnonzero(np.asarray(masks).any((1, 2)))
  return _stored(made, normal.dtype)[rows], rows


def _stored(image: jax.Array, dtype: np.dtype) -> np.ndarray:
  """Images in [-1, 1] as they are stored."""
  levels = np.clip((np.asarray(image) / 2 + 0.5) * 255, 0, 255)
  # A trained model is given images as they are stored, and no others.
  return preparation.to_uint8(levels) if dtype == np.uint8 else levels
