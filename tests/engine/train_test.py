"""The loop: configuration and seed decide what a run computes."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.data import feeds, index, stream
from medad_jax.engine import members, train, writers
from medad_jax.engine.devices import Devices
from medad_jax.methods import ae
from medad_jax.training import Length
from medad_jax.types import UserError
from tests import tiny
from tests.killed import Killer, killed_and_resumed


def run(workdir, phases=None, feed=None, **options):
  """A whole training with a checkpoint at every call."""
  settings = tiny.run(workdir, feed or tiny.feed(), **options)
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


def assert_near(states, others):
  """The same steps in programs of another rounding, which Adam enlarges."""
  for name, expected in others.items():
    assert list(states[name].step) == list(expected.step)
    for x, y in zip(
      *map(jax.tree.leaves, (states[name].params, expected.params)), strict=True
    ):
      np.testing.assert_allclose(x, y, atol=2e-2)  # members differ by tenths


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("undisturbed")
  return run(workdir), writers.phase_seconds(workdir)


# Calls: 3 + 2 of the ensemble (6 steps of all, 4 of the UDM), 3 of the net.
@pytest.mark.parametrize(
  "lines",
  [
    pytest.param(0, marks=pytest.mark.slow),
    1,
    pytest.param(4, marks=pytest.mark.slow),
    6,
  ],
)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, undisturbed, lines):
  assert_same(killed_and_resumed(run, tmp_path, lines), undisturbed[0])


def test_a_finished_run_is_only_read(tmp_path, undisturbed):
  run(tmp_path)
  log = Killer(tmp_path, 0)  # would end at the first step
  assert_same(run(tmp_path, log=log), undisturbed[0])


@pytest.mark.parametrize("sources", [False, True])
def test_both_feeds_give_the_same_batches_bit_for_bit(sources):
  phase = tiny.method().phases()[0]
  order = train.make_order(phase, tiny.pools(), tiny.TRIALS)
  extra = {"extra": tiny.images(seed=1)}
  feeds = (tiny.feed().beside(extra), stream.Stream(tiny.images(), extra))
  resident, streamed = (
    [
      feed.batch(*jax.tree.map(jnp.asarray, (feed.constant, chunk)))
      for chunk in feed.chunks(order, [(0, 3), (3, 6)], range(4), sources)
    ]
    for feed in feeds
  )
  assert ("source" in resident[0]) == sources
  jax.tree.map(np.testing.assert_array_equal, streamed, resident)


def test_both_feeds_give_the_same_run(tmp_path, undisturbed):
  found = run(tmp_path, feed=stream.Stream(tiny.images()))
  assert_near(found, undisturbed[0])


def test_members_stop_after_their_own_epochs(undisturbed):
  # Two epochs of 5 (40 mixed images by 8) and of 3 (24 normal ones).
  assert list(undisturbed[0]["ensemble"].step) == [10, 10, 6, 6]
  assert list(undisturbed[0]["refine_dual"].step) == [6]


def test_devices_of_members_that_finished_stay_idle(tmp_path, undisturbed):
  devices = dataclasses.replace(tiny.devices(4), whole_batches=True)
  phases = tiny.method(refine_epochs=0).phases()
  found = run(tmp_path, phases, devices=devices)  # on 4 devices, then on 2
  name = "ensemble"
  assert_near({name: found[name]}, {name: undisturbed[0][name]})


def test_seconds_are_known_for_every_phase(undisturbed):
  assert set(undisturbed[1]) == {"ensemble", "refine_dual"}
  assert min(undisturbed[1].values()) > 0


def test_another_seed_is_another_run(tmp_path, undisturbed):
  phases = tiny.method(refine_epochs=0).phases()
  other = run(tmp_path, phases, trials=members.seeds(1, 1))["ensemble"].params
  same = undisturbed[0]["ensemble"].params
  for x, y in zip(jax.tree.leaves(other), jax.tree.leaves(same), strict=True):
    assert not np.array_equal(x, y)


def test_a_larger_ensemble_adds_members_and_changes_none():
  small, large = (
    {
      m.name
      for m in members.of_stage(tiny.method(size).phases()[0], tiny.TRIALS)
    }
    for size in (2, 3)
  )
  assert small < large
  assert len(large) == 6


def test_a_seed_among_several_is_that_seed_alone(tmp_path):
  # Losses and not weights: where a gradient is rounding alone, as before a
  # normalization, Adam makes steps of it.
  run(tmp_path / "both", trials=members.seeds(3, 2))
  run(tmp_path / "second", trials=members.seeds(4, 1))
  both = losses_of(tmp_path / "both")
  for place, alone in losses_of(tmp_path / "second").items():
    _, own = np.split(both[place], 2)
    np.testing.assert_allclose(own, alone, rtol=1e-3)


def losses_of(workdir):
  """Losses [k] by phase and step; nan where a member has finished."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {
    (row["phase"], row["step"]): np.array(row["loss"], float)
    for row in map(json.loads, lines)
  }


def keeping_all(epochs=3):
  """Members on 24 images in batches of 10: steps of 10, 10 and 4."""
  length = Length(epochs, 10, drop_last=False)
  (phase,) = ae.Method(4, 3, 8, length=length).phases()
  return phase


def test_a_smaller_last_batch_takes_the_images_that_are_left():
  order = train.make_order(keeping_all(), tiny.pools(), tiny.TRIALS)
  assert order.epoch_steps() == (3,)
  sizes = [order.step_size(step) for step in range(6)]
  assert sizes == [10, 10, 4, 10, 10, 4]
  for first in (0, 3):
    steps = [order.rows(first + i, first + i + 1, [0])["id"] for i in range(3)]
    seen = np.concatenate([ids.ravel() for ids in steps])
    assert sorted(seen) == list(range(24))


def test_a_run_with_smaller_last_batches_goes_on_bit_for_bit(tmp_path):
  phases = [keeping_all()]
  whole = run(tmp_path / "whole", phases)
  assert list(whole["train"].step) == [9]
  again = functools.partial(run, phases=phases)
  assert_same(killed_and_resumed(again, tmp_path / "cut", 3), whole)


def test_smaller_last_batches_want_pools_of_one_size(tmp_path):
  method = tiny.method()
  length = dataclasses.replace(method.length, drop_last=False)
  phases = dataclasses.replace(method, length=length).phases()
  with pytest.raises(UserError, match="24, 40.*drop_last"):
    run(tmp_path, phases)


def test_segments_follow_the_members_that_still_train():
  found = list(train.segments((10, 10, 6, 6)))
  assert found == [
    train.Segment(0, 6, (0, 1, 2, 3)),
    train.Segment(6, 10, (0, 1)),
  ]
  # Every member takes exactly its own steps, so none is computed in vain.
  assert sum(len(s.members) * (s.stop - s.start) for s in found) == 32


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was(tmp_path):
  phase = tiny.method().phases()[0]

  def loss(params, extra, batch, context):
    value, aux = phase.step.loss(params, extra, batch, context)
    return jnp.where(context.step < 5, value, jnp.nan), aux

  step = dataclasses.replace(phase.step, loss=loss)
  broken = dataclasses.replace(phase, step=step)
  with pytest.raises(UserError, match="became nan at step 5.*step 4 is saved"):
    run(tmp_path, [broken])
  resumed = run(tmp_path, [phase])  # the checkpoint of step 4 is sound
  assert np.isfinite(jax.tree.leaves(resumed["ensemble"].params)[0]).all()


def test_feeds_are_chosen_by_size_or_name():
  images = tiny.images()
  assert isinstance(feeds.choose(images, "grain", 1e3), stream.Stream)
  assert isinstance(feeds.choose(images, None, 1e-6), stream.Stream)
  assert not isinstance(feeds.choose(images, None, 1.0), stream.Stream)
  with pytest.raises(UserError, match="'resident', 'grain' or 'records'"):
    feeds.choose(images, "tfds", 1.0)


def test_a_pool_smaller_than_a_batch_is_named():
  order = index.Order((np.arange(3),), ("ensemble/normal/0",), (0,), 8)
  with pytest.raises(UserError, match="ensemble/normal/0 has 3"):
    order.epoch_steps()


def test_whole_batches_use_all_devices_and_smaller_ones_what_they_can(
  tmp_path,
):
  """10 images on 5 devices, the 4 that an epoch leaves over on 4."""
  phases = [keeping_all(2)]
  alone = run(tmp_path / "alone", phases)
  devices = Devices(tuple(jax.devices()))
  many = run(tmp_path / "many", phases, devices=devices)
  assert_near(many, alone)
  log = (tmp_path / "many" / "log.txt").read_text()
  assert "on 5 device(s)" in log  # those whose work is their own
