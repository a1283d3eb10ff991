"""Values that make no sense: a sentence, or a method that can be traced.

Every field of every method and of the settings gets values that mean nothing
there, and the ends of its own range. What is refused must raise `UserError`.
What is taken must trace: the networks, a step of every phase, the scores.
"""

from collections.abc import Iterator
import inspect
import math
import typing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import ranges
from medad_jax.engine import config as configuration
from medad_jax.engine import feasible, fields, members, scorer
from medad_jax.training import Length
from medad_jax.types import Axis, Context, Fit, Phase, TrainState, UserError
from tests.engine import experiment_test
from tests.methods import contract_test as contract
from tests.methods import products_test

METHODS = fields.method_names()
# 10**400 is a whole number that no float can hold.
MEANINGLESS = (0, -1, math.nan, math.inf, 1e30, 10**400, True, "much", (), None)
MOST_BYTES = 1e11  # larger states are refused by their size
BATCH = 2
# The deepest nets take most of the time; the fast half traces the least depth.
DEPTHS = ("model.down_depth", "model.up_depth", "model.layers")


def ends(annotation: Any) -> Iterator[Any]:
  """The least and the greatest value of a number, all of a choice."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is typing.Annotated:
    range_, kind = args[1], ranges.kind(args[0])
    for end, open_ in (
      (range_.low, range_.open_low),
      (range_.high, range_.open_high),
    ):
      # The number beside an end that is left out.
      inside = np.nextafter(end, (range_.low + range_.high) / 2)
      yield kind(inside if open_ else end)
  elif origin is typing.Literal:
    yield from args
  elif origin is tuple:
    for end in ends(args[0]):
      yield (end,) if args[-1] is Ellipsis else (end,) * len(args)
  elif origin is not None:
    for arg in args:
      yield from ends(arg)
  elif annotation is bool:
    yield from (False, True)


def accepted(name: str, field: fields.Field) -> Iterator[tuple[Any, Any]]:
  """Values and the methods that they make; the others are sentences."""
  config = contract.small_config(name)
  for value in (*MEANINGLESS, *ends(field.annotation)):
    changed = configuration.with_hyper(config, {field.name: value})
    try:
      configuration.settings_of(changed)
      yield value, configuration.build_method(changed)
    except UserError as error:
      check_sentence(error)


def check_sentence(error: UserError) -> None:
  assert "\n" not in str(error)
  assert len(str(error)) < 600


def owner(method: Any, place: tuple[str, ...]) -> tuple[type, str]:
  """The class that declares a field: what methods share is traced once."""
  first, *rest = place
  if rest:
    return owner(getattr(method, first), tuple(rest))
  classes = reversed(type(method).__mro__)
  return next(c for c in classes if first in inspect.get_annotations(c)), first


def traced(method, shape) -> None:
  """Traces all that a run compiles; UserError where it may not be run."""
  for stage in method.phases():
    if not isinstance(stage, Fit):
      needed = feasible.state_bytes(stage, shape) * stage.members
      if needed > MOST_BYTES:
        raise UserError("the weights exceed the memory")
  states: dict[str, TrainState] = {}
  for stage in method.phases():
    states[stage.name] = state_of(stage, shape, states)
  score = scorer.score_function(method, 1)
  found = jax.eval_shape(score, states, batch_of(None, shape))
  assert set(found.scores.image) == set(method.score_names)
  for values in found.scores.image.values():
    assert values.shape == (BATCH, 1)


def state_of(stage, shape, earlier):
  """A stage's states as shapes, members first; its step and fit are traced."""
  read = {name: earlier[name] for name in getattr(stage, "reads", ())}
  own = jax.tree.map(lambda x: like(x.shape[1:], x), read)
  if isinstance(stage, Fit):
    state = fitted(stage, own, shape)
  else:
    state = jax.eval_shape(
      lambda own: members.init_state(stage, key(), shape, own), own
    )
  if isinstance(stage, Phase):
    after, metrics = jax.eval_shape(
      lambda state, batch, own, read: stage.step(
        state, batch, Context(key(), one(), one(), one(), Axis(), own, read)
      ),
      state,
      batch_of(stage, shape),
      own,
      read,
    )
    assert metrics["loss"].shape == ()
    assert jax.tree.structure(after) == jax.tree.structure(state)
  return jax.tree.map(lambda x: like((stage.members, *x.shape), x), state)


def fitted(stage, own, shape):
  """The state of an estimate, of features as the stage makes them."""
  seen = jax.eval_shape(stage.features, own, batch_of(None, shape))
  # An estimate is computed, also while what is around it is traced.
  with jax.ensure_compile_time_eval():
    params = products_test.estimated(stage, seen).params
  params = jax.tree.map(lambda x: x[0], params)
  return jax.eval_shape(lambda: TrainState(one(), params, {}, {}, key()))


def batch_of(stage, shape):
  """A batch, or several, as shapes, with what the phase asks for."""
  image = jnp.zeros((BATCH, *shape))
  batch = {
    "image": image,
    "label": jnp.zeros(BATCH, jnp.int32),
    "valid": jnp.ones(BATCH, bool),
    "slot": jnp.arange(BATCH),
    "id": jnp.arange(BATCH),
  }
  if stage is not None and stage.inputs.source:
    batch["source"] = image
  if stage is not None and stage.inputs.prepare is not None:
    batch |= stage.inputs.prepare(np.zeros((BATCH, *shape), np.uint8))
  if stage is not None and stage.inputs.copies > 1:
    batch["copy"] = batch["slot"]
  if stage is not None and stage.inputs.columns:
    batch |= dict.fromkeys(stage.inputs.columns, batch["slot"])
  if stage is not None and (count := stage.inputs.batches) > 1:
    batch = jax.tree.map(lambda x: jnp.stack(count * [x]), batch)
  return jax.tree.map(lambda x: like(x.shape, x), batch)


def like(shape, x):
  return jax.ShapeDtypeStruct(shape, x.dtype)


def key():
  return jax.random.key(0)


def one():
  return jnp.ones((), jnp.int32)


def may_be_an_array(field: fields.Field) -> bool:
  """True if a trial's number may take its place in a program."""
  return ranges.problem(field.name, jnp.zeros(()), field.annotation) is None


SEEN: set = set()  # what was traced, by owner and value
OFFERED: set = set()  # the fast half's fields, by owner and if they are traced


@pytest.mark.parametrize(
  "every", [False, pytest.param(True, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", METHODS)
def test_a_value_is_refused_or_traces(name, every):
  """Trace one of the values that are taken, or every one.

  The fast half traces one method of each kind, and offers values to a field
  that methods share once.
  """
  default, shape = contract.build(name), contract.shape(name)
  for field in fields.of_method(fields.default_of(name)):
    place = owner(default, field.place)
    # Lengths never reach a step; arrays cannot decide what is traced.
    untraced = place[0] is Length or may_be_an_array(field)
    if not every and (place, name in contract.KINDS) in OFFERED:
      continue
    OFFERED.add((place, name in contract.KINDS))
    taken = list(accepted(name, field))
    if not every:
      chosen = taken[:1] if field.name in DEPTHS else taken[-1:]
      taken = chosen if name in contract.KINDS else []
    for value, method in taken:
      what = (*place, repr(value) if every else "")
      if untraced or what in SEEN:
        continue
      SEEN.add(what)
      try:
        traced(method, shape)
      except UserError as error:
        check_sentence(error)
      except Exception as error:
        raise AssertionError(f"{field.name}={value!r}") from error


@pytest.mark.parametrize("name", contract.slow_but(*contract.KINDS))
def test_numbers_that_may_be_arrays_decide_nothing(name):
  config = contract.small_config(name)
  numbers = {
    field.name: jnp.float32(field.default)
    for field in fields.of_method(fields.default_of(name))
    if may_be_an_array(field) and isinstance(field.default, int | float)
  }

  def trace(values):
    changed = configuration.with_hyper(config, values)
    traced(configuration.build_method(changed), contract.shape(name))
    return one()

  jax.eval_shape(trace, numbers)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(16, 16), (8192, 8192)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_refused_or_a_net_is_built(name, shape, channels):
  """Whatever `data` may say; what a net cannot take is a sentence."""
  for stage in contract.build(name).phases():
    if isinstance(stage, Fit):
      continue
    try:
      assert feasible.state_bytes(stage, (*shape, channels)) > 0
    except UserError as error:
      check_sentence(error)


@pytest.mark.parametrize("field", fields.of_settings(), ids=lambda f: f.name)
def test_a_setting_is_refused_or_held(field):
  config = configuration.defaults("ae")
  for value in (*MEANINGLESS, *ends(field.annotation)):
    changed = configuration.with_hyper(config, {field.name: value})
    try:
      settings = configuration.settings_of(changed)
    except UserError as error:
      check_sentence(error)
    else:
      found: Any = settings
      for name in field.place:
        found = getattr(found, name)
      assert found == value
      # True is no number, though Python takes it for 1.
      assert isinstance(value, bool) == (field.annotation is bool)


# Accepted by their ranges, or refused by the relation to something else. Each
# is a run on the tiny set: a sentence before training, or a finished run.
RISKY = [
  ("ae", {"model.width": 65_536}),
  ("ae", {"model.hidden": 65_536, "model.latent": 65_536, "seeds": 9_999}),
  ("ae", {"model.width": 1, "model.latent": 1, "model.hidden": 1}),
  ("ae", {"train.batch_size": 25}),
  ("ae", {"train.batch_size": 1_000_000, "train.drop_last": False}),
  ("ae", {"train.epochs": 0}),
  ("ae", {"train.epochs": 1_000_000_000}),
  ("ae", {"train.steps": 0}),
  ("ae", {"train.learning_rate": 1e4}),
  ("ae", {"train.eps": 1e-300}),
  ("ae", {"seed": 2**31 - 1}),
  ("ae", {"seeds": 1_000_000}),
  ("ae", {"validation.share": 0.999}),
  ("ae", {"validation.share": 1e-9}),
  ("ae", {"evaluation.batch_size": 1_000_000, "data.image_size": 8192}),
  ("ae", {"evaluation.batch_size": 1}),
  ("ae", {"until": "", "reuse": ""}),
  ("ae", {"data.name": ""}),
  ("ae", {"data.name": "../tiny"}),
  ("ae", {"data.resident_mb": 0.0}),
  ("ae", {"steps_per_call": 1_000_000}),
  ("ae", {"mesh.member": 1_000_000}),
  ("dae", {"model.levels": 64}),
  ("dae", {"model.grid": 65_536}),
  ("ganomaly", {"model.own_statistics": True}),
  ("nsa", {"recipe.largest": 1.0}),
  ("ddad", {"data.extra": 1_000_000_000}),
  ("ddad", {"refine.inputs": ()}),
]


# Those that train; the others end with a sentence, before they compile.
TRAINED = (
  {"train.batch_size": 1_000_000, "train.drop_last": False},
  {"train.epochs": 0},
  {"train.steps": 0},
  {"train.learning_rate": 1e4},
  {"train.eps": 1e-300},
  {"seed": 2**31 - 1},
  {"data.resident_mb": 0.0},
  {"steps_per_call": 1_000_000},
  {"refine.inputs": ()},
)


@pytest.mark.parametrize(
  ("name", "changes"),
  [
    pytest.param(*run, marks=[pytest.mark.slow] * (run[1] in TRAINED))
    for run in RISKY
  ],
  ids=lambda value: str(value)[:60],
)
def test_a_risky_run_ends_well(name, changes, tmp_path):
  try:
    results, _ = experiment_test.run(name, tmp_path, **changes)
  except UserError as error:
    check_sentence(error)
  else:
    assert results["scores"]
