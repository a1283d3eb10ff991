"""The states that a phase ends with: means of those it has seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.engine import ending
from medad_jax.types import TrainState

STEPS = (8, 5)  # of two members


def states(done):
  """Two members after `done` steps, each no further than its own end."""
  step = np.minimum(done, STEPS)
  draw = np.random.RandomState(done).normal(size=(2, 3, 4))
  own = np.random.RandomState(9).normal(size=(2, 2))
  return TrainState(
    jnp.asarray(step),
    {"w": jnp.asarray(draw, jnp.float32)},
    {
      "constant": jnp.asarray(own, jnp.float32),
      "seen": jnp.asarray(10 * step),
      "key": jax.random.split(jax.random.key(done), 2),
    },
    {},
    jax.random.split(jax.random.key(0), 2),
  )


def folded(steps):
  mean = None
  for done in steps:
    mean = ending.averaged(mean, states(done), STEPS)
  return mean


def test_every_member_has_the_mean_of_its_own_second_half():
  mean = folded(range(1, 9))
  np.testing.assert_array_equal(mean["count"], (5, 3))  # 4 to 8 and 3 to 5
  for member, own in enumerate(((4, 5, 6, 7, 8), (3, 4, 5))):
    weights = [states(n).params["w"][member] for n in own]
    np.testing.assert_allclose(
      mean["states"].params["w"][member], np.mean(weights, 0), atol=1e-6
    )


def test_only_weights_are_averaged():
  found, last = folded(range(1, 9))["states"], states(8)
  np.testing.assert_array_equal(found.step, STEPS)
  for name in ("constant", "seen"):
    np.testing.assert_array_equal(found.extra[name], last.extra[name])
  # The second member's last state that counts is that of its own last step.
  wanted = states(8).extra["key"][0], states(5).extra["key"][1]
  for member, key in enumerate(wanted):
    np.testing.assert_array_equal(
      *map(jax.random.key_data, (found.extra["key"][member], key))
    )


@pytest.mark.parametrize(
  "steps", [(4, 5, 6, 7, 6, 7, 8, 8), (1, 2, 4, 4, 5, 6, 7, 8, 5, 6)]
)
def test_no_state_counts_twice(steps):
  """A resumed run measures some states once more."""
  again, whole = folded(steps), folded(sorted({*steps}))
  np.testing.assert_array_equal(again["count"], whole["count"])
  np.testing.assert_array_equal(
    again["states"].params["w"], whole["states"].params["w"]
  )


def test_of_one_state_the_mean_is_that_state():
  found = folded([8])["states"]
  np.testing.assert_array_equal(found.params["w"], states(8).params["w"])
  assert folded([1, 2]) is None  # the first half
