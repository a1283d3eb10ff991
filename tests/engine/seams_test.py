"""What a method may do with the engine, shown by toys.

Parts that move in turn, a critic with fresh batches, a net that grows, and
trials whose numbers differ: each on any mesh, resumed bit for bit, and equal to
the same updates in plain Python.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import rng
from medad_jax.engine import members, train
from medad_jax.training import Length, Optimizer
from medad_jax.types import Context
from tests import tiny, toys
from tests.killed import killed_and_resumed


def run(workdir, stages, **options):
  settings = tiny.run(workdir, tiny.feed(), **options)
  return train.train(stages, settings)


def leaves(state):
  return jax.tree.leaves((state.params, state.extra, state.step))


def by_hand(toy):
  """The first member's updates, in plain Python."""
  (member, _) = members.of_stage(toy, tiny.TRIALS)
  key = rng.stream(jax.random.key(0), member.name)
  state = members.init_state(toy, key, tiny.SHAPE, {})
  order = train.make_order(toy, tiny.pools(), tiny.TRIALS)
  feed = tiny.feed()
  for number in range(5):
    rows = order.rows(number, number + 1, [0])
    del rows["source"]
    chunk = {k: jnp.asarray(v[0, 0]) for k, v in rows.items()}
    batch = feed.batch(jax.tree.map(jnp.asarray, feed.constant), chunk)
    if toy.inputs.batches > 1:
      batch = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), batch)
    context = Context(
      jax.random.fold_in(state.key, number),
      *map(jnp.int32, (number, order.epoch_steps()[0], 1)),
    )
    state, _ = toy.step(state, batch, context)
  return state


@pytest.mark.parametrize("kind", ["alternate", "critic"])
def test_parts_in_turn_are_plain_updates_on_any_mesh_and_resume(kind, tmp_path):
  toy = getattr(toys, kind)()
  one = run(tmp_path / "one", [toy])["toy"]
  for x, y in zip(leaves(by_hand(toy)), leaves(one), strict=True):
    np.testing.assert_allclose(y[0], x, rtol=2e-4, atol=1e-6)
  many = run(tmp_path / "many", [toy], devices=tiny.devices(2, 2))["toy"]
  for x, y in zip(leaves(many), leaves(one), strict=True):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6)
  again = killed_and_resumed(
    functools.partial(run, stages=[toy]), tmp_path / "cut", 1
  )["toy"]
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(one))


def test_a_critics_batches_are_all_different():
  order = train.make_order(toys.critic(), tiny.pools(), tiny.TRIALS)
  rows = order.rows(0, 2, [0])["id"]
  assert rows.shape == (2, 1, 4, 3)
  assert order.epoch_steps() == (2, 2)  # 24 images by 4, three at a time
  assert sorted(rows.ravel()) == list(range(24))


def test_a_net_that_grows_starts_from_the_smaller_ones_weights(tmp_path):
  first, second = toys.growing()
  frozen = dataclasses.replace(
    second, length=Length(steps=0, batch_size=4), name="trns16"
  )
  states = run(tmp_path, [first, frozen])
  small, large = (states[n].params["mean"] for n in ("stab8", "trns16"))
  # Each member from its own predecessor, and the members differ.
  np.testing.assert_array_equal(
    large, small.repeat(2, axis=1).repeat(2, axis=2)
  )
  assert not np.allclose(small[0], small[1])
  log = (tmp_path / "log.txt").read_text()
  assert log.count("its length is 0") == 1


def test_a_run_killed_while_it_grows_goes_on_bit_for_bit(tmp_path):
  whole = run(tmp_path / "whole", toys.growing())["trns16"]
  # Two calls of the first stage; the kill comes in the second one.
  again = killed_and_resumed(
    functools.partial(run, stages=toys.growing()), tmp_path / "cut", 3
  )["trns16"]
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(whole))


def test_trials_that_differ_in_a_rate_end_where_each_ends_alone(tmp_path):
  def stages(rate):
    optimizer = Optimizer(learning_rate=rate)
    return (toys.alternate((toys.TURNS[0]._replace(optimizer=optimizer),)),)

  class Method:
    def __init__(self, hyper):
      self.rate = hyper["train.learning_rate"]

    def phases(self):
      return stages(self.rate)

  rates = (0.1, 0.01, 0.001)
  trials = tuple(
    members.Trial(0, {"train.learning_rate": rate}) for rate in rates
  )
  together = run(
    tmp_path / "all", stages(1.0), trials=trials, method_of=Method
  )["toy"]
  for number, rate in enumerate(rates):
    alone = run(tmp_path / str(rate), stages(rate))["toy"]
    own = members.by_trial(together, len(rates))
    for x, y in zip(leaves(own), leaves(alone), strict=True):
      np.testing.assert_allclose(x[number], y, rtol=1e-5, atol=1e-7)
