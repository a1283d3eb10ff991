"""One program on any mesh: same gradients, same steps, a share of the work."""

import jax
import numpy as np
import pytest

from medad_jax.data import resident
from medad_jax.engine import members, parallel, train
from medad_jax.methods import ddad
from medad_jax.types import Context, Phase, UserError
from tests import tiny

MESHES = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2)]
BOTH = [(mode, mesh) for mode in parallel.MODES for mesh in MESHES]


def layout(mode, mesh):
  return parallel.make_layout(
    4, 8, mode=mode, member_devices=mesh[0], batch_devices=mesh[1]
  )


def ensemble() -> Phase:
  return tiny.method().phases()[0]


def chunk(phase: Phase, steps: int):
  order = train.make_order(phase, tiny.pools(), (0,))
  rows = order.rows(0, steps, range(phase.members))
  del rows["source"]
  return rows


def places(phase: Phase, pools=None):
  order = train.make_order(phase, pools or tiny.pools(), (0,))
  who = members.of_phase(phase, (0,))
  return train.make_places(who, order.epoch_steps(), range(phase.members))


def take(phase, at, steps=2, live=slice(None)):
  """States and metrics after a call on a layout."""
  call = train.make_call(phase, tiny.feed(), at)
  states = members.init_states(phase, (0,), tiny.SHAPE)
  states = jax.tree.map(lambda x: x[live], states)
  rows = {k: v[:, live] for k, v in chunk(phase, steps).items()}
  states, metrics = call(
    at.put(states, parallel.MEMBER),
    at.put({k: v[live] for k, v in places(phase).items()}, parallel.MEMBER),
    at.put(rows, parallel.FEED),
    {},
    at.put(tiny.feed().constant, parallel.WHOLE),
  )
  return jax.device_get(
    (at.get(states, parallel.MEMBER), at.get(metrics, parallel.STEPS))
  )


def gradients(phase, at):
  """Averaged gradients of every member at its first step."""

  def one(state, batch):
    context = Context(state.key, state.step, state.step, at.axis)
    grads, _ = jax.grad(phase.loss, has_aux=True)(
      state.params, state.extra, batch, context
    )
    return at.axis.mean(grads)

  def call(states, rows, constant):
    batch = tiny.feed().batch(constant, jax.tree.map(lambda x: x[0], rows))
    return jax.vmap(one)(states, batch)

  kinds = (parallel.MEMBER, parallel.FEED, parallel.WHOLE)
  lifted = at.lift(call, kinds, parallel.MEMBER)
  args = (
    members.init_states(phase, (0,), tiny.SHAPE),
    chunk(phase, 1),
    tiny.feed().constant,
  )
  spread = [at.put(x, kind) for x, kind in zip(args, kinds, strict=True)]
  return jax.device_get(at.get(lifted(*spread), parallel.MEMBER))


@pytest.fixture(scope="module")
def on_one():
  phase = ensemble()
  at = layout("jit", (1, 1))
  return gradients(phase, at), take(phase, at)


def assert_close(tree, other, tolerance):
  def check(x, y):
    if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      scale = max(1e-2, float(np.max(np.abs(y))))
      np.testing.assert_allclose(x, y, atol=tolerance * scale, rtol=0)

  jax.tree.map(check, tree, other)


@pytest.mark.parametrize(("mode", "mesh"), BOTH[1:])
def test_gradients_do_not_depend_on_the_mesh(on_one, mode, mesh):
  assert_close(gradients(ensemble(), layout(mode, mesh)), on_one[0], 2e-5)


@pytest.mark.parametrize(
  ("mode", "mesh"), [("jit", (4, 2)), ("pmap", (4, 2)), ("pmap", (1, 1))]
)
def test_steps_do_not_depend_on_the_mesh(on_one, mode, mesh):
  states, metrics = take(ensemble(), layout(mode, mesh))
  expected_states, expected = on_one[1]
  assert_close(metrics, expected, 1e-4)
  # Adam's first steps are sign-like: rounding near zero gradients shows.
  assert_close(states.params, expected_states.params, 2e-2)
  # A tenth of the running averages is the second step's, by these parameters.
  assert_close(states.extra, expected_states.extra, 0.1 * 2e-2)


def test_a_member_trains_the_same_alone(on_one):
  at = parallel.make_layout(1, 8, member_devices=1, batch_devices=1)
  states, metrics = take(ensemble(), at, live=slice(3, 4))
  expected_states, expected = jax.tree.map(lambda x: x, on_one[1])
  assert_close(metrics["loss"][:, 0], expected["loss"][:, 3], 1e-5)
  third = jax.tree.map(lambda x: x[3:4], expected_states.params)
  assert_close(states.params, third, 2e-2)


@pytest.fixture(scope="module")
def published():
  """The published ensemble's program, compiled but not run."""
  phase = ddad.Method(ensemble=ddad.Ensemble(2)).phases()[0]
  images = np.zeros((128, 64, 64, 1), np.uint8)
  pools = {"normal": np.arange(64), "mixed": np.arange(128)}
  order = train.make_order(phase, pools, (0,))
  rows = order.rows(0, 1, range(4))
  del rows["source"]

  def compiled(mesh):
    at = parallel.make_layout(
      4, 64, member_devices=mesh[0], batch_devices=mesh[1]
    )
    feed = resident.Resident(images)
    call = train.make_call(phase, feed, at)
    states = members.abstract_states(phase, (0,), (64, 64, 1))
    states = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), states
    )
    lowered = call.lower(states, places(phase, pools), rows, {}, feed.constant)
    return lowered.compile()

  return compiled, compiled((1, 1)).cost_analysis()["flops"]


@pytest.mark.parametrize("mesh", [(4, 2), (2, 4), (1, 8)])
def test_work_divides_without_gathering(published, mesh):
  compiled, flops_on_one = published
  program = compiled(mesh)
  assert "all-gather" not in program.as_text()
  assert program.cost_analysis()["flops"] <= 1.2 / 8 * flops_on_one


def test_a_layout_that_does_not_divide_is_refused():
  with pytest.raises(UserError, match="4 members do not divide"):
    layout("jit", (3, 1))
  with pytest.raises(UserError, match="train.batch_size=8 does not divide"):
    layout("jit", (1, 3))
  with pytest.raises(UserError, match="there are 8"):
    layout("jit", (4, 4))
  with pytest.raises(UserError, match="jit, pmap"):
    parallel.make_layout(4, 8, mode="gspmd")


@pytest.mark.parametrize(
  ("members", "batch", "expected"),
  [(4, 8, (4, 2)), (2, 8, (2, 4)), (3, 8, (1, 8)), (1, 4, (1, 4))],
)
def test_freed_devices_join_the_batch(members, batch, expected):
  at = parallel.shrink(layout("jit", (4, 2)), members, batch)
  assert at.mesh.devices.shape == expected


@pytest.mark.parametrize(
  ("kind", "shape"),
  [
    (parallel.MEMBER, (8, 3)),
    (parallel.STEPS, (3, 4)),
    (parallel.EXAMPLE, (8, 3)),
    (parallel.WHOLE, (5,)),
  ],
)
@pytest.mark.parametrize("mode", parallel.MODES)
def test_get_undoes_put(mode, kind, shape):
  x = np.arange(np.prod(shape)).reshape(shape)
  at = layout(mode, (2, 2))
  np.testing.assert_array_equal(at.get(at.put(x, kind), kind), x)
