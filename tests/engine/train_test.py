"""The loop: configuration and seed decide what a run computes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.data import index, stream
from medad_jax.engine import parallel, train, writers
from medad_jax.types import UserError
from tests import tiny


def run(workdir, phases=None, feed=None, steps_per_call=2, log=None, seed=0):
  """A whole training with a checkpoint at every call."""
  settings = train.Run(
    workdir=workdir,
    log=log or writers.Writers(workdir),
    feed=feed or tiny.feed(),
    pools=tiny.pools(),
    shape=tiny.SHAPE,
    seed=seed,
    layout=parallel.make_layout(4, 8, member_devices=1, batch_devices=1),
    steps_per_call=steps_per_call,
    checkpoint_seconds=0.0,
  )
  return train.train(phases or tiny.method().phases(), settings)


def bits(states):
  return {
    name: [
      np.asarray(
        jax.random.key_data(x)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        else x
      )
      for x in jax.tree.leaves(state)
    ]
    for name, state in states.items()
  }


def assert_same(states, others):
  jax.tree.map(np.testing.assert_array_equal, bits(states), bits(others))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("undisturbed")
  return run(workdir), writers.phase_seconds(workdir)


class Killed(Exception):
  pass


class Killer(writers.Writers):
  """Ends the run when so many lines of metrics have been written."""

  def __init__(self, workdir, lines):
    super().__init__(workdir)
    self.left = lines

  def scalars(self, *args):
    if not self.left:
      raise Killed
    self.left -= 1
    super().scalars(*args)


# Calls: 3 + 2 of the ensemble (6 steps of all, 4 of the UDM), 3 of the net.
@pytest.mark.parametrize("lines", [0, 1, 4, 6])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, undisturbed, lines):
  with pytest.raises(Killed):
    run(tmp_path, log=Killer(tmp_path, lines))
  assert_same(run(tmp_path), undisturbed[0])


def test_a_finished_run_is_only_read(tmp_path, undisturbed):
  run(tmp_path)
  log = Killer(tmp_path, 0)  # would end at the first step
  assert_same(run(tmp_path, log=log), undisturbed[0])


def test_both_feeds_give_the_same_run(tmp_path, undisturbed):
  assert_same(run(tmp_path, feed=stream.Stream(tiny.images())), undisturbed[0])


def test_members_stop_after_their_own_epochs(undisturbed):
  # Two epochs of 5 (40 mixed images by 8) and of 3 (24 normal ones).
  assert list(undisturbed[0]["ensemble"].step) == [10, 10, 6, 6]
  assert list(undisturbed[0]["refine_dual"].step) == [6]


def test_seconds_are_known_for_every_phase(undisturbed):
  assert set(undisturbed[1]) == {"ensemble", "refine_dual"}
  assert min(undisturbed[1].values()) > 0


def test_another_seed_is_another_run(tmp_path, undisturbed):
  phases = tiny.method(refine_epochs=0).phases()
  other = run(tmp_path, phases, seed=1)["ensemble"].params
  same = undisturbed[0]["ensemble"].params
  for x, y in zip(jax.tree.leaves(other), jax.tree.leaves(same), strict=True):
    assert not np.array_equal(x, y)


def test_a_larger_ensemble_adds_members_and_changes_none():
  small = train.member_names(tiny.method(2).phases()[0])
  large = train.member_names(tiny.method(3).phases()[0])
  assert set(small) < set(large)
  assert len(set(large)) == 6


def test_segments_follow_the_members_that_still_train():
  found = list(train.segments((10, 10, 6, 6)))
  assert found == [
    train.Segment(0, 6, (0, 1, 2, 3)),
    train.Segment(6, 10, (0, 1)),
  ]
  # Every member takes exactly its own steps, so none is computed in vain.
  assert sum(len(s.members) * (s.stop - s.start) for s in found) == 32


@pytest.mark.parametrize(
  ("total", "most", "expected"), [(3750, 8, 6), (4000, 8, 8), (7, 4, 4)]
)
def test_calls_avoid_a_shorter_last_one(total, most, expected):
  assert train.call_steps(total, most) == expected


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was(tmp_path):
  phase = tiny.method().phases()[0]

  def loss(params, extra, batch, context):
    value, aux = phase.loss(params, extra, batch, context)
    return jnp.where(context.step < 5, value, jnp.nan), aux

  broken = dataclasses.replace(phase, loss=loss)
  with pytest.raises(UserError, match="became nan at step 5.*step 4 is saved"):
    run(tmp_path, [broken])
  resumed = run(tmp_path, [phase])  # the checkpoint of step 4 is sound
  assert np.isfinite(jax.tree.leaves(resumed["ensemble"].params)[0]).all()


def test_feeds_are_chosen_by_size_or_name():
  images = tiny.images()
  assert isinstance(train.feed_for(images, "grain", 1e3), stream.Stream)
  assert isinstance(train.feed_for(images, None, 1e-6), stream.Stream)
  assert not isinstance(train.feed_for(images, None, 1.0), stream.Stream)
  with pytest.raises(UserError, match="'resident' or 'grain'"):
    train.feed_for(images, "tfds", 1.0)


def test_a_pool_smaller_than_a_batch_is_named():
  order = index.Order((np.arange(3),), ("ensemble/normal/0",), 0, 8)
  with pytest.raises(UserError, match="ensemble/normal/0 has 3"):
    order.epoch_steps()
