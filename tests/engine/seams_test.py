"""What a method may do with the engine, shown by toys.

Parts that move in turn, a critic with fresh batches, a net that grows, and
trials whose numbers differ: each on any mesh, resumed bit for bit, and equal to
the same updates in plain Python.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import rng, steps
from medad_jax.engine import members, train, writers
from medad_jax.training import Length, Optimizer
from medad_jax.types import NORMAL, Context, Inputs, Phase
from tests import tiny

FAST, SLOW = Optimizer(learning_rate=0.05), Optimizer("sgd", 0.01)


def init(key, shape):
  """Two small linear parts, drawn."""
  height, width, _ = shape
  drawn = jax.random.normal(key, (2, height * width, 3)) / 8
  return {"enc": drawn[0], "dec": drawn[1].T}, {"seen": jnp.zeros(())}


def x_of(batch):
  return batch["image"].reshape(len(batch["image"]), -1)


def noise(batch, context):
  """Drawn by the example, so that devices do not change it."""
  keys = rng.per_example(rng.stream(context.key, "noise"), batch["slot"])
  return jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)


def encode(params, extra, batch, context, handed):
  del handed
  code = x_of(batch) @ params["enc"] + 0.1 * noise(batch, context)
  loss = jnp.mean((code @ params["dec"] - x_of(batch)) ** 2)
  extra = {"seen": extra["seen"] + context.axis.mean(jnp.mean(code))}
  return loss, (extra, {"code": jnp.mean(code)}, None)


def decode(params, extra, batch, context, handed):
  del context, handed
  code = x_of(batch) @ params["enc"]
  loss = jnp.mean(jnp.abs(code @ params["dec"] - x_of(batch)))
  return loss, (extra, {}, None)


TURNS = (
  steps.Turn("enc", encode, FAST),
  steps.Turn("dec", decode, SLOW),
)


def phase(kind):
  step, inputs = {
    "alternate": (steps.Alternate(TURNS), Inputs()),
    "critic": (
      steps.Critic(TURNS[:1], TURNS[1:], batches=2),
      Inputs(batches=3),
    ),
  }[kind]
  length = Length(steps=5, batch_size=4)
  return Phase("toy", length, (NORMAL,) * 2, init, step, inputs=inputs)


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


class Killed(Exception):
  pass


class Killer(writers.Writers):
  """Ends the run after so many lines of metrics."""

  def __init__(self, workdir, lines):
    super().__init__(workdir)
    self.left = lines

  def scalars(self, *args):
    if not self.left:
      raise Killed
    self.left -= 1
    super().scalars(*args)


def killed_and_resumed(workdir, stages, lines, **options):
  with pytest.raises(Killed):
    run(workdir, stages, log=Killer(workdir, lines), **options)
  return run(workdir, stages, **options)


@pytest.mark.parametrize("kind", ["alternate", "critic"])
def test_parts_in_turn_are_plain_updates_on_any_mesh_and_resume(kind, tmp_path):
  toy = phase(kind)
  one = run(tmp_path / "one", [toy])["toy"]
  for x, y in zip(leaves(by_hand(toy)), leaves(one), strict=True):
    np.testing.assert_allclose(y[0], x, rtol=2e-4, atol=1e-6)
  many = run(tmp_path / "many", [toy], devices=tiny.devices(2, 2))["toy"]
  for x, y in zip(leaves(many), leaves(one), strict=True):
    np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6)
  again = killed_and_resumed(tmp_path / "cut", [toy], 1)["toy"]
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(one))


def test_a_critics_batches_are_all_different():
  order = train.make_order(phase("critic"), tiny.pools(), tiny.TRIALS)
  rows = order.rows(0, 2, [0])["id"]
  assert rows.shape == (2, 1, 4, 3)
  assert order.epoch_steps() == (2, 2)  # 24 images by 4, three at a time
  assert sorted(rows.ravel()) == list(range(24))


def growing():
  """A mean image of 8x8, then one of 16x16 that starts from it."""

  def loss(params, extra, batch, context):
    side = params["mean"].shape[0]
    image = batch["image"][..., 0]
    small = jax.image.resize(image, (len(image), side, side), "linear")
    return jnp.mean((params["mean"] - small) ** 2), (extra, {})

  def start(side):
    def init(key, shape):
      return {"mean": jax.random.normal(key, (side, side))}, {}

    return init

  def graft(params, extra, own):
    small = own["stab8"].params["mean"]
    return {"mean": jax.image.resize(small, (16, 16), "nearest")}, extra

  step = steps.Descend(loss, FAST)
  length = Length(steps=4, batch_size=4)
  first = Phase("stab8", length, (NORMAL,) * 2, start(8), step)
  second = dataclasses.replace(
    first, name="trns16", init=start(16), inherit=graft, reads=("stab8",)
  )
  return first, second


def test_a_net_that_grows_starts_from_the_smaller_ones_weights(tmp_path):
  first, second = growing()
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


def test_a_run_killed_while_it_grows_goes_on_bit_for_bit(tmp_path):
  whole = run(tmp_path / "whole", growing())["trns16"]
  # Two calls of the first stage; the kill comes in the second one.
  again = killed_and_resumed(tmp_path / "cut", growing(), 3)["trns16"]
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(whole))


def test_trials_that_differ_in_a_rate_end_where_each_ends_alone(tmp_path):
  def stages(rate):
    toy = phase("alternate")
    turns = (TURNS[0]._replace(optimizer=Optimizer(learning_rate=rate)),)
    return (dataclasses.replace(toy, step=steps.Alternate(turns)),)

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
