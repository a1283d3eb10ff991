"""What is timed is what trains."""

import jax
import numpy as np

from benchmarks import jax_side
from medad_jax.engine import members, train
from tests import tiny


def test_the_loop_ends_where_training_ends(tmp_path):
  """Of the NDM, which finish with the first segment."""
  phase = tiny.method().phases()[0]
  run = tiny.run(tmp_path, tiny.feed())
  trained = train.train([phase], run)["ensemble"]
  states = members.init_states(phase, run.trials, run.shape)
  loop = jax_side.Loop(
    phase, states, run.feed, run.pools, run.devices, run.steps_per_call
  )
  assert loop.run(1) == 1
  assert loop.run(5) == 5  # calls of two steps, and a shorter one
  loop.close()
  jax.tree.map(
    lambda x, y: np.testing.assert_array_equal(x[2:], y[2:]),
    trained.params,
    loop.states.params,
  )
