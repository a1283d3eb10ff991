"""Randomness by name and place: no draw depends on another draw's existence."""

import zlib

import jax
from jaxtyping import Array, Int, Key, PRNGKeyArray


def stream(key: PRNGKeyArray, name: str) -> PRNGKeyArray:
  """The key of the stream called `name`; the same on every machine."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def per_example(key: PRNGKeyArray, slot: Int[Array, "b"]) -> Key[Array, "b"]:
  """One key an example, from its position in the GLOBAL batch.

  The result does not depend on how many devices share the batch.

  Args:
    key: a step's key.
    slot: positions in the global batch.

  Returns:
    Keys, shape [b].
  """
  return jax.vmap(jax.random.fold_in, (None, 0))(key, slot)
