"""The loop: every method trains here, phase by phase.

A phase's members share one compiled program: `lax.scan` over a few steps,
`vmap` over members, `Layout.lift` over devices. Members with fewer steps (the
NDM of DDAD sees fewer images) leave the program when they have finished: the
phase is cut into segments, each compiled for the members still training, so
nothing is computed and thrown away.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
import math
import time

import jax
import numpy as np

from medad_jax.data import feeds, index
from medad_jax.engine import (
  checkpoint,
  fit,
  members,
  optim,
  parallel,
  processes,
  validation,
  writers,
)
from medad_jax.engine.run import Run, States
from medad_jax.types import Fit, Phase, TrainState, UserError


@dataclasses.dataclass(frozen=True)
class Segment:
  """Steps [start, stop) of the members that still train."""

  start: int
  stop: int
  members: tuple[int, ...]


def train(phases: Sequence[Phase | Fit], run: Run) -> States:
  """Runs all phases, or goes on where an earlier run stopped.

  Args:
    phases: what to train, in order.
    run: how and on what.

  Returns:
    The final states by phase name, members first, without optimizer states.

  Raises:
    UserError: a loss is not finite, or a checkpoint cannot be written.
  """
  states: States = {}
  for phase in phases:
    if isinstance(phase, Fit):
      states[phase.name] = fit.fit(phase, run, states)
    else:
      states[phase.name] = PhaseRun(phase, run).train(states)
  return states


def segments(steps: Sequence[int]) -> Iterator[Segment]:
  """Cuts a phase where members finish; `steps` counts each member's."""
  start = 0
  for stop in sorted(set(steps)):
    live = tuple(m for m, n in enumerate(steps) if n >= stop)
    yield Segment(start, stop, live)
    start = stop


def call_steps(total: int, most: int) -> int:
  """Steps a call takes: a divisor of `total` near `most`, if there is one.

  A last, shorter call would be compiled for itself.
  """
  near = range(most, (most - 1) // 2, -1)
  return next((n for n in near if total % n == 0), most)


def make_order(
  phase: Phase, pools: Mapping[str, np.ndarray], seeds: tuple[int, ...]
) -> index.Order:
  """The batches of all members of a phase."""
  who = members.of_phase(phase, seeds)
  training = phase.training
  passes = {
    name: rows
    if training.pass_rows is None
    # Repeated where the pool is smaller.
    else np.resize(rows, training.pass_rows)
    for name, rows in pools.items()
  }
  return index.Order(
    tuple(passes[member.pool] for member in who),
    tuple(member.name for member in who),
    tuple(member.seed for member in who),
    training.batch_size,
    training.drop_last,
    training.epoch_steps,
  )


def make_places(
  who: Sequence[members.Member],
  epoch_steps: Sequence[int],
  live: Sequence[int],
) -> dict[str, np.ndarray]:
  """What tells the live members apart inside the program, each [k].

  "run" is the place of the member's seed, "epoch_steps" its steps an epoch.
  """
  return {
    "run": np.array([who[m].run for m in live], np.int32),
    "epoch_steps": np.array([epoch_steps[m] for m in live], np.int32),
  }


def make_call(
  phase: Phase, feed: feeds.Feed, layout: parallel.Layout, seeds: int = 1
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Compiles several steps of the phase's members.

  Returns:
    (states MEMBER, places MEMBER, chunk FEED, frozen WHOLE, constant WHOLE) ->
    (states MEMBER, metrics STEPS); the states are donated. Places are those of
    `make_places`.
  """
  step = optim.gradient_step(phase, layout.axis)
  # With one seed all members share the frozen states, and none are copied.
  shared = None if seeds == 1 else 0

  def call(states, places, chunk, frozen, constant):
    if seeds > 1:
      runs = members.by_seed(frozen, seeds)
      frozen = jax.tree.map(lambda x: x[places["run"]], runs)

    def body(states, chunk):
      batch = feed.batch(constant, chunk)
      return jax.vmap(step, (0, 0, shared, 0))(
        states, batch, frozen, places["epoch_steps"]
      )

    if len(jax.tree.leaves(chunk)[0]) > 1:
      return jax.lax.scan(body, states, chunk)
    states, metrics = body(states, jax.tree.map(lambda x: x[0], chunk))
    return states, jax.tree.map(lambda x: x[None], metrics)

  return layout.lift(
    call,
    (
      parallel.MEMBER,
      parallel.MEMBER,
      parallel.FEED,
      parallel.WHOLE,
      parallel.WHOLE,
    ),
    (parallel.MEMBER, parallel.STEPS),
    donate=(0,),
  )


class PhaseRun:
  """One phase on its way from the first step, or a checkpoint, to its end."""

  def __init__(self, phase: Phase, run: Run):
    self.phase, self.run = phase, run
    self.members = members.of_phase(phase, run.seeds)
    self.order = make_order(phase, run.pools, run.seeds)
    self.epoch_steps = self.order.epoch_steps()
    self.steps = tuple(phase.training.epochs * n for n in self.epoch_steps)
    self.checkpoints = checkpoint.Checkpoints(
      run.workdir / "checkpoints", phase.name
    )

  def train(self, frozen: States) -> TrainState:
    """The phase's final states, without optimizer states."""
    phase, run = self.phase, self.run
    if self.checkpoints.finished:
      run.log.note(f"{phase.name}: already trained")
      return self.checkpoints.final(self._abstract())
    states, done = self._begin()
    clock = _Clock(run.log.rewind(phase.name, done), run.checkpoint_seconds)
    ahead = [s for s in segments(self.steps) if s.stop > done]
    sizes = [self._layout(segment).mesh.size for segment in ahead]
    run.log.note(
      f"{phase.name}: {len(self.members)} member(s), {max(self.steps):,} steps,"
      f" from step {done:,}, on {max(sizes, default=0)} device(s)\n"
      + writers.parameter_table(states.params)
    )
    with writers.Progress(
      phase.name, max(self.steps), done, processes.first()
    ) as bar:
      for segment in ahead:
        states = self._segment(segment, states, done, frozen, bar, clock)
    states = self.validation.chosen(states)
    self.checkpoints.finish(states)
    self.validation.clear()
    return dataclasses.replace(states, opt={})

  @functools.cached_property
  def feed(self) -> feeds.Feed:
    """The run's feed, with what this phase prepares."""
    path = self.run.workdir / "prepared" / f"{self.phase.name}.npz"
    with processes.first_before_others("prepared"):
      return feeds.prepared(self.run.feed, self.phase.prepare, path)

  @functools.cached_property
  def validation(self) -> validation.Validation:
    """What measures the phase on its way."""
    return validation.Validation(
      self.phase, self.run, max(self.epoch_steps), self._abstract()
    )

  def _abstract(self) -> TrainState:
    return members.abstract_states(self.phase, self.run.seeds, self.run.shape)

  def _begin(self) -> tuple[TrainState, int]:
    """The states to start from and the steps they have behind them."""
    done = self.checkpoints.latest()
    if done is None:
      run = self.run
      return members.init_states(self.phase, run.seeds, run.shape), 0
    return self.checkpoints.restore(done, self._abstract()), done

  def _segment(
    self,
    segment: Segment,
    states: TrainState,
    done: int,
    frozen: States,
    bar: writers.Progress,
    clock: "_Clock",
  ) -> TrainState:
    """Takes the segment's steps; `states` and the result hold all members."""
    feed = self.feed
    layout = self._layout(segment)
    call = make_call(self.phase, feed, layout, len(self.run.seeds))
    places = layout.put(
      make_places(self.members, self.epoch_steps, segment.members),
      parallel.MEMBER,
    )
    live = np.asarray(segment.members)
    part = layout.put(_some(states, live), parallel.MEMBER)
    frozen = layout.put(frozen, parallel.WHOLE)
    constant = layout.put(feed.constant, parallel.WHOLE)

    def merged() -> TrainState:
      return _merged(states, layout.get(part, parallel.MEMBER), live)

    bounds = self._bounds(segment, done)
    chunks = feed.chunks(
      self.order, bounds, segment.members, self.phase.sources, layout.part
    )
    bar.pause()  # the segment's program is compiled first
    pending = None
    for (start, stop), chunk in zip(bounds, chunks, strict=True):
      part, metrics = call(
        part, places, layout.put(chunk, parallel.FEED), frozen, constant
      )
      # Reading the call before last lets the host prepare the next one while
      # the device works on this one.
      if pending is not None:
        self._record(*pending, bar, clock)
      metrics = layout.get(metrics, parallel.STEPS)
      pending = (segment, start, stop, metrics)
      measures = self.validation.due(start, stop, max(self.steps))
      saves = clock.due()
      if measures or saves:
        self._record(*pending, bar, clock)  # never keep what is not finite
        pending = None
      if measures:
        self.validation.measure(stop, merged())
      if saves:
        self.checkpoints.save(stop, merged())
        clock.saved()
    if pending is not None:
      self._record(*pending, bar, clock)
    return merged()

  def _layout(self, segment: Segment) -> parallel.Layout:
    """The run's devices for the members of a segment."""
    return parallel.shrink(
      self.run.layout,
      len(segment.members),
      # Both sizes of batch must divide over the devices; some may idle.
      math.gcd(self.phase.training.batch_size, self.order.remainder),
    )

  def _bounds(self, segment: Segment, done: int) -> list[tuple[int, int]]:
    """Where calls start and stop; a call holds batches of one size."""
    alone = not self.phase.looped and jax.default_backend() == "cpu"
    most = 1 if alone else self.run.steps_per_call
    whole = [(segment.start, segment.stop)]
    if self.order.remainder:  # then every epoch ends with a smaller step
      ends = range(self.epoch_steps[0], segment.stop + 1, self.epoch_steps[0])
      whole = [
        part
        for end in ends
        for part in ((end - self.epoch_steps[0], end - 1), (end - 1, end))
      ]
    return [
      (start, min(start + take, stop))
      for first, stop in whole
      for take in [call_steps(stop - first, most)]
      for start in range(max(first, done), stop, take)
    ]

  def _record(self, segment, start, stop, metrics, bar, clock) -> None:
    """Writes the means over a call's steps, one value a member."""
    whole = jax.device_get(metrics)
    self._check_finite(whole["loss"], segment, start)
    rows = {}
    for name, values in whole.items():
      row: list[float | None] = [None] * len(self.members)
      for member, value in zip(segment.members, values.mean(0), strict=True):
        row[member] = float(value)
      rows[name] = row
    rows["seconds"] = clock.seconds()
    self.run.log.scalars(self.phase.name, stop, rows)
    size = self.order.step_size(start)
    images = (stop - start) * len(segment.members) * size
    bar.update(stop - start, images, float(whole["loss"].mean()))

  def _check_finite(
    self, loss: np.ndarray, segment: Segment, start: int
  ) -> None:
    bad = np.argwhere(~np.isfinite(loss))
    if not len(bad):
      return
    step, member = bad[0]
    saved = self.checkpoints.latest()
    raise UserError(
      f"the loss of {self._name(segment.members[member])} became"
      f" {loss[step, member]} at step {start + step}; lower the learning rate"
      " or set grad_clip, and start in a new workdir"
      f" ({'nothing' if saved is None else f'step {saved}'} is saved in this"
      " one)."
    )

  def _name(self, member: int) -> str:
    found = self.members[member]
    seed = f" (seed {found.seed})" if len(self.run.seeds) > 1 else ""
    return found.name + seed


def _some(states: TrainState, live: np.ndarray) -> TrainState:
  """The states of some members; of all without a copy."""
  if len(live) == len(states.step):
    return states
  return jax.tree.map(lambda x: x[live], states)


def _merged(
  states: TrainState, some: TrainState, live: np.ndarray
) -> TrainState:
  """The states of all, of which some have trained, perhaps elsewhere."""
  if len(live) == len(states.step):
    return some
  states, some = parallel.gathered((states, some))
  return jax.tree.map(lambda x, y: x.at[live].set(y), states, some)


class _Clock:
  """Seconds a phase has trained, over all runs, and when to save next.

  Several processes save together, when the first one says. It is asked at
  every eighth call only, as the answer is waited for.
  """

  def __init__(self, before: float, interval: float):
    self._start = time.monotonic() - before
    self._interval = interval
    self._calls = 0
    self.saved()

  def seconds(self) -> float:
    return time.monotonic() - self._start

  def saved(self) -> None:
    self._last = time.monotonic()

  def due(self) -> bool:
    self._calls += 1
    if processes.count() > 1 and self._interval and self._calls % 8:
      return False
    return processes.agreed(time.monotonic() - self._last >= self._interval)
