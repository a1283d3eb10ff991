"""One program on any mesh: same gradients, same steps, a share of the work."""

import jax
import numpy as np
import pytest

from medad_jax.data import resident
from medad_jax.engine import members, parallel, program, train
from medad_jax.engine.devices import Devices
from medad_jax.methods import ddad
from medad_jax.types import Context, Phase, UserError
from tests import tiny

MESHES = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2)]
BOTH = [(mode, mesh) for mode in parallel.MODES for mesh in MESHES]


def layout(mode, mesh):
  return tiny.devices(*mesh, mode).layout(4, 8)


def ensemble() -> Phase:
  return tiny.method().phases()[0]


def program_of(phase: Phase, at, live=(0, 1, 2, 3)) -> program.Program:
  order = train.make_order(phase, tiny.pools(), tiny.TRIALS)
  return program.Program(phase, at, tiny.feed(), order, tiny.TRIALS, live)


def take(phase, at, steps=2, live=(0, 1, 2, 3)):
  """States and metrics of the live members after a call on a layout."""
  ready = program_of(phase, at, live)
  states = members.init_states(phase, tiny.TRIALS, tiny.SHAPE)
  (chunk,) = ready.chunks([(0, steps)])
  placed, found = ready.call(ready.place(states), ready.constants({}), chunk)
  states = program.some(ready.gather(placed, states), live)
  return jax.device_get(states), ready.metrics(found, steps)


def gradients(phase, at):
  """Averaged gradients of every member at its first step."""
  ready = program_of(phase, at)
  (chunk,) = ready.chunks([(0, 1)])

  def one(state, batch):
    context = Context(state.key, *(3 * [state.step]), at.axis)
    grads, _ = jax.grad(phase.step.loss, has_aux=True)(
      state.params, state.extra, batch, context
    )
    return at.axis.mean(grads)

  def call(states, rows, constant):
    batch = tiny.feed().batch(constant, jax.tree.map(lambda x: x[0], rows))
    return jax.vmap(one)(states, batch)

  kinds = (parallel.MEMBER, parallel.FEED, parallel.WHOLE)
  lifted = at.lift(call, kinds, parallel.MEMBER)
  args = (
    members.init_states(phase, tiny.TRIALS, tiny.SHAPE),
    chunk,
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


@pytest.mark.parametrize(
  ("mode", "mesh"),
  [
    pytest.param(
      *at, marks=pytest.mark.slow if at[0] == "pmap" and 1 in at[1] else ()
    )
    for at in BOTH[1:]
  ],
)
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
  at = tiny.devices().layout(1, 8)
  states, metrics = take(ensemble(), at, live=(3,))
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
  order = train.make_order(phase, pools, tiny.TRIALS)
  feed = resident.Resident(images)
  states = members.abstract_states(phase, tiny.TRIALS, (64, 64, 1))

  def compiled(mesh):
    at = tiny.devices(*mesh).layout(4, 64)
    ready = program.Program(
      phase, at, feed, order, tiny.TRIALS, (0, 1, 2, 3), steps_per_call=1
    )
    return ready.trace(states, {}).lower().compile()

  return compiled, compiled((1, 1)).cost_analysis()["flops"]


@pytest.mark.parametrize(
  "mesh",
  [
    (4, 2),
    *(pytest.param(m, marks=pytest.mark.slow) for m in ((2, 4), (1, 8))),
  ],
)
def test_work_divides_without_gathering(published, mesh):
  compiled, flops_on_one = published
  found = compiled(mesh)
  assert "all-gather" not in found.as_text()
  assert found.cost_analysis()["flops"] <= 1.2 / 8 * flops_on_one


@pytest.mark.parametrize(
  ("mode", "mesh", "message"),
  [
    ("jit", (3, 1), "4 members do not divide"),
    ("jit", (1, 3), "train.batch_size=8 does not divide"),
    ("jit", (4, 4), "there are 8"),
    ("gspmd", (1, 1), "jit, pmap"),
  ],
)
def test_a_mesh_that_does_not_divide_is_refused(mode, mesh, message):
  with pytest.raises(UserError, match=message):
    tiny.devices(*mesh, mode).check(4, 8)


@pytest.mark.parametrize(
  ("members", "batch", "expected"),
  [(4, 8, (4, 2)), (2, 8, (2, 4)), (3, 8, (1, 8)), (1, 4, (1, 4))],
)
def test_freed_devices_join_the_batch(members, batch, expected):
  at = tiny.devices(4, 2).layout(members, batch)
  assert at.mesh.devices.shape == expected


@pytest.mark.parametrize(
  ("devices", "members", "batch", "expected"),
  [
    (8, 6, 64, (2, 4)),
    (8, 1, 64, (1, 8)),
    (8, 1, 49, (1, 7)),  # what an epoch leaves over
    (8, 1, 11, (1, 1)),
    (3, 1, 64, (1, 2)),
    (3, 6, 64, (3, 1)),
    (6, 1, 64, (1, 4)),
    (6, 4, 8, (4, 1)),
  ],
)
def test_a_mesh_uses_most_of_any_number_of_devices(
  devices, members, batch, expected
):
  some = Devices(tuple(jax.devices()[:devices]))
  some.check(members, batch)  # and none is refused
  assert some.layout(members, batch).mesh.devices.shape == expected


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
