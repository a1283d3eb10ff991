"""Speed by what does not depend on the machine: how much of what is done."""

import contextlib
import dataclasses
import sys

import jax
import numpy as np
import pytest

from benchmarks import programs
from medad_jax.engine import members, scorer, train, writers
from medad_jax.methods import ae, ddad
from medad_jax.training import Length
from medad_jax.types import NORMAL
from tests import tiny

SIDE = tiny.SHAPE[0]
COMPILED = "/jax/core/compile/backend_compile_duration"
NORMALIZATIONS = 9  # of the backbone: five in its encoder, four after it


@contextlib.contextmanager
def compilations():
  """Names of what is compiled meanwhile, or read from a cache of scaling."""
  names = []

  def note(event, _, fun_name="", **__):
    if event == COMPILED:
      names.append(fun_name)

  jax.monitoring.register_event_duration_secs_listener(note)
  try:
    yield names
  finally:
    jax.monitoring.unregister_event_duration_listener(note)


class Guard(writers.Writers):
  """From the first record to the last only what is asked for may move."""

  def __init__(self, workdir, last, names):
    super().__init__(workdir)
    self.last, self.names, self.compiled = last, names, []

  def scalars(self, phase, step, values):
    self.compiled.append(len(self.names))
    guard = "allow" if step == self.last else "disallow"
    jax.config.update("jax_transfer_guard", guard)
    super().scalars(phase, step, values)


def test_the_loop_compiles_once_and_moves_only_what_it_says(tmp_path):
  length = Length(5, 8)  # 15 steps: 7 calls of 2 and a shorter one
  method = ae.Method(4, 3, 8, members=2, length=length)
  try:
    with compilations() as names:
      log = Guard(tmp_path, 15, names)
      options = {"log": log, "checkpoint_seconds": 1e9}
      train.train(method.phases(), tiny.run(tmp_path, tiny.feed(), **options))
  finally:
    jax.config.update("jax_transfer_guard", "allow")
  assert names.count("jit(_steps)") == 1
  assert len(log.compiled) == 8
  assert len(set(log.compiled)) == 1  # nothing else on the way, either


def ensemble(count: int, steps: int = 2, devices: int = 1) -> programs.Program:
  phase = tiny.method().phases()[0]
  phase = dataclasses.replace(phase, pools=(NORMAL,) * count)
  return programs.Program(phase, tiny.SHAPE, steps, (), programs.host(devices))


@pytest.fixture(scope="module")
def six():
  return programs.read(ensemble(6).compiled)


def test_states_take_the_place_of_states(six):
  phase = ensemble(6).phase
  states = jax.tree.leaves(
    members.abstract_states(phase, tiny.TRIALS, tiny.SHAPE)
  )
  assert six.aliased >= sum(x.size * x.dtype.itemsize for x in states)


@pytest.fixture(scope="module")
def one():
  return programs.read(ensemble(1).compiled)


def test_members_cost_what_one_costs(six, one):
  assert six.flops <= 6.05 * one.flops


def test_memory_grows_with_members(six):
  three = programs.read(ensemble(3).compiled)
  assert six.temporaries <= 2.2 * three.temporaries


def test_a_loop_counts_one_step(one):
  """Operations of a loop are those of one step, as benchmarks print them."""
  more = programs.read(ensemble(1, steps=3).compiled)
  assert more.flops == pytest.approx(one.flops, rel=1e-3)


def test_members_on_devices_of_their_own_do_not_wait():
  found = ensemble(4, devices=4)
  assert found.engine.layout.mesh.devices.shape == (4, 1)
  assert not any(programs.read(found.compiled).collectives.values())


def test_parts_of_a_batch_meet_in_normalizations_and_once_more():
  """Mean and variance of each layer, and both sums at once on the way back."""
  found = ensemble(1, devices=4)
  assert found.engine.layout.mesh.devices.shape == (1, 4)
  counts = dict(programs.read(found.compiled).collectives)
  assert 0 < counts.pop("all-reduce") <= 3 * NORMALIZATIONS + 1
  assert not any(counts.values())


@pytest.fixture(scope="module")
def refinements():
  """Flops of a refinement step by the number of teachers."""
  found = {}
  for size in (2, 4):
    both, refine = tiny.method(size).phases()
    program = programs.Program(refine, tiny.SHAPE, 2, (both,))
    found[2 * size] = programs.read(program.compiled).flops
  return found


def teacher() -> float:
  """Flops of one member's reconstructions of the refinement's batch."""
  method = tiny.method()
  state = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype),
    members.abstract_states(method.phases()[0], tiny.TRIALS, tiny.SHAPE),
  )
  size = method.refine.length.batch_size
  image = jax.ShapeDtypeStruct((size, *tiny.SHAPE), np.float32)

  def x_hat(state, image):
    return method.predict({"ensemble": state}, {"image": image})["x_hat"]

  return jax.jit(x_hat).lower(state, image).compile().cost_analysis()["flops"]


def test_a_teacher_only_looks(refinements):
  """No gradient of it, of its other maps or of its own training."""
  assert refinements[8] - refinements[4] <= 4 * 1.05 * teacher()


def test_the_rest_of_a_refinement_is_the_net_there_and_back(refinements):
  refine = tiny.method().refine
  channels = (2, refine.width, refine.width, 2)
  kernels = sum(9 * i * o for i, o in zip(channels, channels[1:], strict=False))
  pixels = refine.length.batch_size * SIDE**2
  # Its products, and those of the gradients by kernels and by inputs.
  products = 3 * 2 * kernels * pixels
  alone = 2 * refinements[4] - refinements[8]  # without any teacher
  assert alone <= 1.25 * products


def test_an_evaluation_is_one_program_to_its_last_image():
  """An image's scores are the same bits, whatever is beside it.

  Other batch sizes are other programs, whose products add up in another order:
  `evaluation_test` allows them rounding.
  """
  method = tiny.method()
  states = {
    phase.name: members.init_states(phase, tiny.TRIALS, tiny.SHAPE)
    for phase in method.phases()
  }
  images = tiny.images(19, seed=2)
  ready = scorer.Scorer(method, states, 16, tiny.devices())
  with compilations() as names:
    whole = ready.images(images)  # 16 and 3
    few = ready.images(images[2:7])
  assert len(names) == 1
  for name, values in whole.items():
    np.testing.assert_array_equal(few[name], values[2:7])


def equations(jaxpr) -> int:
  """The number of equations of a traced program, inner ones included."""
  count = 0
  for equation in jaxpr.eqns:
    count += 1
    for value in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
    ):
      inner = getattr(value, "jaxpr", value)
      count += equations(inner) if hasattr(inner, "eqns") else 0
  return count


def published(refining: bool) -> programs.Program:
  """DDAD-ASR with 3 + 3 members on 64x64 images."""
  both, refine = ddad.Method().phases()
  if refining:
    return programs.Program(refine, (64, 64, 1), 2, (both,))
  return programs.Program(both, (64, 64, 1), 2)


# What nobody reads is not traced: six gradient maps were half of it once.
@pytest.mark.parametrize(("refining", "most"), [(False, 4_000), (True, 3_500)])
def test_a_program_is_traced_without_what_nobody_reads(refining, most):
  found = published(refining)
  states = members.abstract_states(found.phase, tiny.TRIALS, (64, 64, 1))
  before = {
    stage.name: members.abstract_states(stage, tiny.TRIALS, (64, 64, 1))
    for stage in found.before
  }
  assert equations(found.engine.trace(states, before).jaxpr.jaxpr) <= most


def deepest(run) -> int:
  """Most functions of the package that stand on the stack at once in a step."""
  most = 0

  def look(frame, event, _):
    nonlocal most
    if event != "call" or "/medad_jax/" not in frame.f_code.co_filename:
      return
    names = []
    while frame is not None:
      code = frame.f_code
      if "/medad_jax/" in code.co_filename and code.co_name[0] != "<":
        names.append(code.co_name)
      frame = frame.f_back
    if "_steps" in names:  # and not on the way to initial states
      most = max(most, len(names))

  sys.setprofile(look)
  try:
    run()
  finally:
    sys.setprofile(None)
  return most


# Three of them lead from a convolution to its squares and its own gradient.
@pytest.mark.parametrize(("refining", "most"), [(False, 20), (True, 23)])
def test_the_way_from_a_run_to_a_product_is_short(refining, most, tmp_path):
  method = tiny.method(epochs=1) if refining else ae.Method(4, 3, 8)
  length = Length(steps=1, batch_size=8)
  phases = dataclasses.replace(method, length=length).phases()
  settings = tiny.run(tmp_path, tiny.feed())
  assert 8 < deepest(lambda: train.train(phases, settings)) <= most
