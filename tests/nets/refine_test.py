"""The refinement net's size and first values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets.refine import RefineNet


@pytest.mark.parametrize(("channels", "count"), [(2, 152_834), (1, 151_682)])
def test_size_and_first_values(channels, count):
  stack = jnp.zeros((1, 8, 8, channels))
  variables = RefineNet().init(jax.random.key(0), stack, train=False)
  params, stats = variables["params"], variables["batch_stats"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
  assert sum(leaf.size for leaf in jax.tree.leaves(stats)) == 512
  for i, fan_in in enumerate((9 * channels, 1152, 1152)):
    for value in params[f"Conv3x3_{i}"].values():
      assert np.abs(value).max() <= fan_in**-0.5
