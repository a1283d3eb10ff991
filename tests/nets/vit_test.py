"""The vision transformer gives the numbers of transformers' `Dinov2Model`."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import vit
from medad_jax.types import UserError
from medad_jax.weights import conversion, vit_names
from tests.golden import cases

GOLDEN = cases.load("vit")
NET = vit.VisionTransformer(("block1", "norm"), width=32, heads=4, trained=5)


def entry(name, shape):
  """Weights by their names, as the reference was given them."""
  values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal
  added = "norm" in name and name.endswith("weight") or "lambda1" in name
  return (values(shape) * 0.2 + added).astype(np.float32)


def test_outputs_are_those_of_the_reference():
  """4 by 3 patches, whose positions come from 5 by 5."""
  image = np.random.RandomState(0).standard_normal((2, 3, 56, 42))
  image = jnp.asarray(image.transpose(0, 2, 3, 1), jnp.float32)
  shapes = jax.eval_shape(lambda: NET.init(jax.random.key(0), image))
  table = vit_names.dinov2()
  wanted = conversion.entries(table, shapes)
  state = {name: entry(name, one.shape) for name, one in wanted.items()}
  assert len(state) == 222  # and the mask token of the training
  variables = jax.tree.map(jnp.asarray, conversion.to_flax(table, state))
  found = jax.jit(NET.apply)(variables, image)
  for name in ("block1", "norm"):
    np.testing.assert_allclose(found[name], GOLDEN[name], atol=2e-4)


def test_sides_that_are_no_patches_are_told():
  image = jnp.zeros((1, 64, 56, 3))
  with pytest.raises(UserError, match="image_size=64 .* a multiple of 14"):
    jax.eval_shape(lambda: NET.init(jax.random.key(0), image))
