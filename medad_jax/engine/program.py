"""A phase's steps as one compiled program, for members that train together.

The method's step is written for one member; `vmap` adds members, `Layout.lift`
devices, and a loop several steps a call. It is compiled once: a call takes any
number of steps up to `steps_per_call`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from medad_jax.augment import views
from medad_jax.data import feeds, index
from medad_jax.engine import members, parallel
from medad_jax.types import Context, Phase, TrainState

# Members and final states of a stage, members first.
Earlier = Mapping[str, tuple[Sequence[members.Member], TrainState]]
# Numbers of a trial by field -> the phase with these in place.
Variant = Callable[[Mapping[str, jax.Array]], Phase]


@dataclasses.dataclass(frozen=True)
class Constants:
  """Arrays on the devices that do not change from step to step.

  Attributes:
    places: what tells members apart, each [k]; see `Program.places`.
    earlier: states of the stages that the phase reads, all members.
    feed: what the feed keeps there.
  """

  places: Any
  earlier: Any
  feed: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
  """Steps of some members on batches of one size.

  Attributes:
    phase: what they train.
    layout: the devices.
    feed: where batches come from.
    order: which rows they hold, for all members of the phase.
    trials: of the run.
    live: numbers of the members that train.
    reads: members of the stages that the phase reads, by name.
    steps_per_call: the most steps that a call takes.
    variant: the phase of other numbers, where trials differ in some.
    view: what the members see of the feed's images; None for all of them.
  """

  phase: Phase
  layout: parallel.Layout
  feed: feeds.Feed
  order: index.Order
  trials: members.Trials
  live: tuple[int, ...]
  reads: Mapping[str, Sequence[members.Member]] = dataclasses.field(
    default_factory=dict
  )
  steps_per_call: int = 8
  variant: Variant | None = None
  view: views.Views | None = None

  def place(self, states: TrainState) -> TrainState:
    """The live members' states on the devices, from those of all members."""
    return self.layout.put(some(states, self.live), parallel.MEMBER)

  def constants(self, earlier: Earlier) -> Constants:
    """The other arguments of a call, placed on the devices."""
    states = {name: earlier[name][1] for name in self.phase.reads}
    return Constants(
      self.layout.put(self.places(), parallel.MEMBER),
      self.layout.put(states, parallel.WHOLE),
      self.layout.put(self.feed.constant, parallel.WHOLE),
    )

  def chunks(
    self, bounds: Sequence[tuple[int, int]]
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yields the batches of steps [start, stop), each [t, k, b, ...]."""
    return self.feed.chunks(
      self.order,
      bounds,
      self.live,
      self.phase.inputs.source,
      self.layout.part,
    )

  def call(
    self,
    placed: TrainState,
    constants: Constants,
    chunk: Mapping[str, np.ndarray],
  ) -> tuple[TrainState, list[dict[str, jax.Array]]]:
    """Takes the chunk's steps; the states that go in are used up.

    Returns:
      The states, still on the devices, and what `metrics` reads.
    """
    count = len(next(iter(chunk.values())))
    # Always `steps_per_call` long: one shape, and so one compilation.
    chunk = self.layout.put(self._filled(chunk), parallel.FEED)
    if self._loops:
      placed, found = self._compiled(
        placed, *self._arguments(constants), chunk, self._number(count)
      )
      return placed, [found]
    steps = []
    for number in range(count):
      placed, found = self._compiled(
        placed, *self._arguments(constants), chunk, self._number(number)
      )
      steps.append(found)
    return placed, steps

  def metrics(
    self, found: list[dict[str, jax.Array]], count: int
  ) -> dict[str, np.ndarray]:
    """Metrics of a call's steps on the host, each [count, k]."""
    parts = jax.device_get(self.layout.get(found, parallel.STEPS))
    names = parts[0].keys()
    return {
      name: np.concatenate([part[name] for part in parts])[:count]
      for name in names
    }

  def gather(self, placed: TrainState, states: TrainState) -> TrainState:
    """The states of all members, of which the live ones have trained."""
    return merged(states, self.layout.get(placed, parallel.MEMBER), self.live)

  def places(self) -> dict[str, Any]:
    """Numbers that tell the live members apart, each [k].

    "trial" is the member's trial, "epoch_steps" and "epochs" its length, "own"
    by stage its predecessor, "hyper" by field its trial's number.
    """
    who = [members.of_stage(self.phase, self.trials)[m] for m in self.live]
    epoch_steps = np.array([self.order.epoch_steps()[m] for m in self.live])
    length = self.phase.length
    epochs = np.full(len(who), length.epochs)
    if length.steps is not None:
      # Schedules count in epochs, so a length in steps is converted.
      epochs = np.maximum(length.steps // epoch_steps, 1)
    own = {
      name: members.predecessors(who, there)
      for name, there in self.reads.items()
    }
    # Arguments and not constants of the program, which is one for all trials.
    hyper = {
      name: np.array([self.trials[m.trial].hyper[name] for m in who], float)
      for name in self.trials[0].hyper
    }
    return {
      "trial": np.array([m.trial for m in who], np.int32),
      "epoch_steps": epoch_steps.astype(np.int32),
      "epochs": epochs.astype(np.int32),
      "own": {k: v for k, v in own.items() if v is not None},
      "hyper": jax.tree.map(np.float32, hyper),
    }

  def trace(
    self, states: TrainState, earlier: Mapping[str, TrainState]
  ) -> jax.stages.Traced:
    """The program for shapes, without running it; not under 'pmap'.

    Args:
      states: of the live members.
      earlier: final states of the stages that the phase reads.
    """
    # The whole of a batch, of which each process feeds its own part.
    bounds, source = [(0, self.steps_per_call)], self.phase.inputs.source
    chunks = self.feed.chunks(self.order, bounds, self.live, source)
    chunk = next(iter(chunks))
    arguments = (
      states,
      self.places(),
      {name: earlier[name] for name in self.phase.reads},
      self.feed.constant,
      chunk,
      np.int32(0),
    )
    # Where the arrays lie is the program's to say.
    shapes = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments
    )
    return self._compiled.trace(*shapes)

  @property
  def _loops(self) -> bool:
    """True if a call is one loop on the device.

    On a CPU a step in a loop is quicker, unless it has convolutions of the
    library. On accelerators a loop of unknown length would make the host read
    a flag at every step, while single calls cost nothing: the host hands them
    over ahead of the device.
    """
    return self.layout.platform == "cpu" and self.phase.looped

  def _filled(self, chunk: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A chunk of `steps_per_call` steps, the last one again and again."""
    at = np.arange(self.steps_per_call)
    return {
      # The repeats are never taken, but the feed looks up their rows.
      k: v if len(v) == len(at) else v[np.minimum(at, len(v) - 1)]
      for k, v in chunk.items()
    }

  def _number(self, number: int) -> jax.Array:
    """A whole number on the devices, put there once."""
    # One transfer for each number instead of one for each step.
    if number not in self._numbers:
      self._numbers[number] = self.layout.put(np.int32(number), parallel.WHOLE)
    return self._numbers[number]

  @functools.cached_property
  def _numbers(self) -> dict[int, jax.Array]:
    return {}

  @staticmethod
  def _arguments(constants: Constants) -> tuple[Any, Any, Any]:
    return constants.places, constants.earlier, constants.feed

  @functools.cached_property
  def _compiled(self) -> Any:
    """(states, places, earlier, feed, chunk, number) -> states, metrics."""
    kinds = (
      parallel.MEMBER,
      parallel.MEMBER,
      parallel.WHOLE,
      parallel.WHOLE,
      parallel.FEED,
      parallel.WHOLE,
    )
    return self.layout.lift(
      self._steps if self._loops else self._one_step,
      kinds,
      (parallel.MEMBER, parallel.STEPS),
      # Parameters and moments are updated in place, not beside the old ones.
      donate=(0,),
      # XLA's own level, 3, compiles a quarter longer for loops no faster. Steps
      # that draw anomalies for library convolutions gain a twentieth by it.
      level=1 if self._loops else 3,
    )

  def _steps(self, states, places, earlier, constant, chunk, count):
    """The first `count` steps of a chunk, in a loop."""
    context, axes = self._context(places, earlier)
    # Traced once: the loop's body calls what the shapes were found with.
    step = jax.jit(self._member_steps(places, axes))

    def body(number, carry):
      states, found = carry
      now = _now(context, states)
      batch = self._batch(constant, chunk, number, now.key)
      states, metrics = step(states, batch, now)
      return states, jax.tree.map(
        lambda all_, one: all_.at[number].set(one), found, metrics
      )

    now = _now(context, states)
    batch = jax.eval_shape(self._batch, constant, chunk, 0, now.key)
    _, shapes = jax.eval_shape(step, states, batch, now)
    found = jax.tree.map(
      lambda x: jnp.zeros((self.steps_per_call, *x.shape), x.dtype), shapes
    )
    # With a traced `count` this is a while loop, so that shorter calls need no
    # other program. It has no gradient, and needs none.
    return lax.fori_loop(0, count, body, (states, found))

  def _one_step(self, states, places, earlier, constant, chunk, number):
    """The chunk's step of that number."""
    context, axes = self._context(places, earlier)
    step = self._member_steps(places, axes)
    now = _now(context, states)
    batch = self._batch(constant, chunk, number, now.key)
    states, metrics = step(states, batch, now)
    # An axis of one step, as the loop's metrics have an axis of steps.
    return states, jax.tree.map(lambda x: x[None], metrics)

  def _batch(self, constant, chunk, number, keys):
    """The batches of a step, members first; `keys` are the members' [k]."""
    change = None
    if self.view is not None:
      change = functools.partial(jax.vmap(self._viewed), keys)
    batch = self.feed.batch(constant, _at(chunk, number), change)
    if self.phase.inputs.batches > 1:
      # The feed spreads examples over devices, so they come first there.
      batch = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 1), batch)
    return batch

  def _viewed(self, key, rows):
    """A member's rows [b ...] with views of the images in their places."""
    count = self.phase.inputs.batches
    if count == 1:
      return self.view(key, rows)
    # Rows [b n ...]: the slots are the same in all batches of a step, and the
    # draws must not be.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))
    return jax.vmap(self.view, (0, 1), 1)(keys, rows)

  def _member_steps(self, places, axes):
    """(states, batches, contexts) of all members -> states, metrics."""
    if self.variant is None:
      return jax.vmap(self.phase.step, (0, 0, axes))
    variant = self.variant
    of_trials = jax.vmap(
      # Built while tracing, from the trial's traced numbers.
      lambda hyper, *rest: variant(hyper).step(*rest),
      (0, 0, 0, axes),
    )
    return functools.partial(of_trials, places["hyper"])

  def _context(self, places, earlier) -> tuple[Context, Context]:
    """The context that all steps share, and the axis of members in it.

    Keys and steps come from the states (`_now`).
    """
    own, own_axes = self._own(places, earlier)
    ensemble, ensemble_axis = self._ensemble(places, earlier)
    lengths = places["epoch_steps"], places["epochs"]
    axis = self.layout.axis
    return (
      Context(None, None, *lengths, axis, own, ensemble),
      # Only what differs between members is mapped: networks that all of them
      # read stay one copy.
      Context(0, 0, 0, 0, axis, own_axes, ensemble_axis),
    )

  def _own(self, places, earlier):
    """Predecessors by stage, and the axis of members in each."""
    own, axes = {}, {}
    for name, numbers in places["own"].items():
      if len(self.reads[name]) == 1:
        # The only state is not copied for every member.
        own[name], axes[name] = _at(earlier[name], 0), None
      else:
        own[name] = jax.tree.map(lambda x, n=numbers: x[n], earlier[name])
        axes[name] = 0
    return own, axes

  def _ensemble(self, places, earlier):
    """All members of each stage, and the axis of the phase's members."""
    if len(self.trials) == 1:
      return earlier, None  # shared by all members, and not copied
    apart = members.by_trial(earlier, len(self.trials))
    return jax.tree.map(lambda x: x[places["trial"]], apart), 0


def some(states: TrainState, live: Sequence[int]) -> TrainState:
  """The states of some members; of all without a copy."""
  if len(live) == len(states.step):
    return states
  return jax.tree.map(lambda x: x[np.asarray(live)], states)


def merged(
  states: TrainState, live_states: TrainState, live: Sequence[int]
) -> TrainState:
  """The states of all, of which some have trained, perhaps elsewhere."""
  if len(live) == len(states.step):
    return live_states
  at = np.asarray(live)
  # The two may lie on different meshes, and `set` wants one.
  states, live_states = parallel.gathered((states, live_states))
  return jax.tree.map(lambda x, y: x.at[at].set(y), states, live_states)


def _now(context: Context, states: TrainState) -> Context:
  """The context of the states' next step, members first."""
  # From the step's number and not from the last key, so that a resumed run
  # draws what it would have drawn.
  key = jax.vmap(jax.random.fold_in)(states.key, states.step)
  return dataclasses.replace(context, key=key, step=states.step)


def _at(tree: Any, number: Any) -> Any:
  return jax.tree.map(lambda x: x[number], tree)
