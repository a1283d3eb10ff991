"""The loop: every method trains here, phase by phase.

A phase's members share one compiled program: `lax.scan` over a few steps,
`vmap` over members, `Layout.lift` over devices. Members with fewer steps (the
NDM of DDAD sees fewer images) leave the program when they have finished: the
phase is cut into segments, each compiled for the members still training, so
nothing is computed and thrown away.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
from pathlib import Path
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import rng
from medad_jax.data import index, resident, stream
from medad_jax.engine import checkpoint, optim, parallel, writers
from medad_jax.types import Phase, TrainState, UserError

Feed = resident.Resident | stream.Stream
States = dict[str, TrainState]


@dataclasses.dataclass(frozen=True)
class Run:
  """What all phases of a run share.

  Attributes:
    workdir: where checkpoints go.
    log: where metrics and messages go.
    feed: where batches come from.
    pools: rows of the feed by pool name.
    shape: an image's [h, w, c].
    seed: seed of everything random.
    layout: devices of the first phase; later ones are fitted to them.
    steps_per_call: steps a compiled call takes.
    checkpoint_seconds: seconds between checkpoints; 0 for one every call.
  """

  workdir: Path
  log: writers.Writers
  feed: Feed
  pools: Mapping[str, np.ndarray]
  shape: tuple[int, int, int]
  seed: int
  layout: parallel.Layout
  steps_per_call: int
  checkpoint_seconds: float


@dataclasses.dataclass(frozen=True)
class Segment:
  """Steps [start, stop) of the members that still train."""

  start: int
  stop: int
  members: tuple[int, ...]


def train(phases: Sequence[Phase], run: Run) -> States:
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
    states[phase.name] = PhaseRun(phase, run).train(states)
  return states


def member_names(phase: Phase) -> tuple[str, ...]:
  """A name for each member's random streams: its pool and its place there.

  A larger ensemble adds members and leaves the others as they are.
  """
  count: dict[str, int] = {}
  names = []
  for pool in phase.pools:
    names.append(f"{phase.name}/{pool}/{count.setdefault(pool, 0)}")
    count[pool] += 1
  return tuple(names)


def segments(steps: Sequence[int]) -> Iterator[Segment]:
  """Cuts a phase where members finish; `steps` counts each member's."""
  start = 0
  for stop in sorted(set(steps)):
    members = tuple(m for m, n in enumerate(steps) if n >= stop)
    yield Segment(start, stop, members)
    start = stop


def call_steps(total: int, most: int) -> int:
  """Steps a call takes: a divisor of `total` near `most`, if there is one.

  A last, shorter call would be compiled for itself.
  """
  near = range(most, most // 2, -1)
  return next((n for n in near if total % n == 0), most)


def init_states(
  phase: Phase, seed: int, shape: tuple[int, int, int]
) -> TrainState:
  """All members of a phase before their first step, k first."""
  # Runs once: optimizing the generator's code would take 20 s on a CPU.
  options = {"xla_backend_optimization_level": 0}
  init = jax.jit(
    lambda: _init_states(phase, seed, shape), compiler_options=options
  )
  return init()


def abstract_states(
  phase: Phase, seed: int, shape: tuple[int, int, int]
) -> TrainState:
  """Shapes of `init_states`, whole on one device: what to restore into."""
  shapes = jax.eval_shape(lambda: _init_states(phase, seed, shape))
  return checkpoint.abstract(shapes, parallel.one_device())


def _init_states(phase, seed, shape) -> TrainState:
  root = jax.random.key(seed)
  keys = jnp.stack([rng.stream(root, name) for name in member_names(phase)])
  return jax.vmap(lambda key: optim.init_state(phase, key, shape))(keys)


def make_call(
  phase: Phase, feed: Feed, layout: parallel.Layout
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Compiles several steps of the phase's members.

  Returns:
    (states MEMBER, chunk FEED, frozen WHOLE, constant WHOLE) ->
    (states MEMBER, metrics STEPS); the states are donated.
  """
  step = optim.gradient_step(phase, layout.axis)

  def call(states, chunk, frozen, constant):
    def body(states, chunk):
      batch = feed.batch(constant, chunk)
      return jax.vmap(step, (0, 0, None))(states, batch, frozen)

    return jax.lax.scan(body, states, chunk)

  return layout.lift(
    call,
    (parallel.MEMBER, parallel.FEED, parallel.WHOLE, parallel.WHOLE),
    (parallel.MEMBER, parallel.STEPS),
    donate=(0,),
  )


class PhaseRun:
  """One phase on its way from the first step, or a checkpoint, to its end."""

  def __init__(self, phase: Phase, run: Run):
    self.phase, self.run = phase, run
    self.order = index.Order(
      tuple(run.pools[name] for name in phase.pools),
      member_names(phase),
      run.seed,
      phase.training.batch_size,
    )
    epochs = phase.training.epochs
    self.steps = tuple(epochs * n for n in self.order.epoch_steps())
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
    run.log.note(
      f"{phase.name}: {phase.members} member(s), {max(self.steps):,} steps,"
      f" from step {done:,}, on {run.layout.mesh.size} device(s)\n"
      + writers.parameter_table(states.params)
    )
    with writers.Progress(phase.name, max(self.steps), done) as bar:
      for segment in segments(self.steps):
        if segment.stop > done:
          states = self._segment(segment, states, done, frozen, bar, clock)
    self.checkpoints.finish(states)
    return dataclasses.replace(states, opt={})

  def _abstract(self) -> TrainState:
    return abstract_states(self.phase, self.run.seed, self.run.shape)

  def _begin(self) -> tuple[TrainState, int]:
    """The states to start from and the steps they have behind them."""
    done = self.checkpoints.latest()
    if done is None:
      return init_states(self.phase, self.run.seed, self.run.shape), 0
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
    feed, batch_size = self.run.feed, self.phase.training.batch_size
    layout = parallel.shrink(self.run.layout, len(segment.members), batch_size)
    call = make_call(self.phase, feed, layout)
    live = np.asarray(segment.members)
    part = layout.put(jax.tree.map(lambda x: x[live], states), parallel.MEMBER)
    frozen = layout.put(frozen, parallel.WHOLE)
    constant = layout.put(feed.constant, parallel.WHOLE)

    def merged() -> TrainState:
      whole = layout.get(part, parallel.MEMBER)
      if len(live) == self.phase.members:
        return whole
      return jax.tree.map(lambda x, y: x.at[live].set(y), states, whole)

    bounds = self._bounds(segment, done)
    chunks = feed.chunks(
      self.order, bounds, segment.members, self.phase.sources
    )
    pending = None
    for (start, stop), chunk in zip(bounds, chunks, strict=True):
      part, metrics = call(
        part, layout.put(chunk, parallel.FEED), frozen, constant
      )
      # Reading the call before last lets the host prepare the next one while
      # the device works on this one.
      if pending is not None:
        self._record(*pending, bar, clock)
      pending = (layout, segment, start, stop, metrics)
      if clock.due():
        self._record(*pending, bar, clock)  # never save what is not finite
        pending = None
        self.checkpoints.save(stop, merged())
        clock.saved()
    if pending is not None:
      self._record(*pending, bar, clock)
    return merged()

  def _bounds(self, segment: Segment, done: int) -> list[tuple[int, int]]:
    total = segment.stop - segment.start
    take = call_steps(total, self.run.steps_per_call)
    starts = range(max(segment.start, done), segment.stop, take)
    return [(a, min(a + take, segment.stop)) for a in starts]

  def _record(self, layout, segment, start, stop, metrics, bar, clock) -> None:
    """Writes the means over a call's steps, one value a member."""
    whole = jax.device_get(layout.get(metrics, parallel.STEPS))
    self._check_finite(whole["loss"], segment, start)
    rows = {}
    for name, values in whole.items():
      row: list[float | None] = [None] * self.phase.members
      for member, value in zip(segment.members, values.mean(0), strict=True):
        row[member] = float(value)
      rows[name] = row
    rows["seconds"] = clock.seconds()
    self.run.log.scalars(self.phase.name, stop, rows)
    images = (
      (stop - start) * len(segment.members) * self.phase.training.batch_size
    )
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
      f"the loss of {self.order.names[segment.members[member]]} became"
      f" {loss[step, member]} at step {start + step}; lower the learning rate"
      " or set grad_clip, and start in a new workdir"
      f" ({'nothing' if saved is None else f'step {saved}'} is saved in this"
      " one)."
    )


class _Clock:
  """Seconds a phase has trained, over all runs, and when to save next."""

  def __init__(self, before: float, interval: float):
    self._start = time.monotonic() - before
    self._interval = interval
    self.saved()

  def seconds(self) -> float:
    return time.monotonic() - self._start

  def saved(self) -> None:
    self._last = time.monotonic()

  def due(self) -> bool:
    return time.monotonic() - self._last >= self._interval


def feed_for(images: np.ndarray, feed: str | None, limit_mb: float) -> Feed:
  """The feed that was asked for, or the one that fits.

  Args:
    images: uint8 [n h w c].
    feed: 'resident', 'grain' or None to choose by size.
    limit_mb: largest array to keep on the device, in MB.

  Raises:
    UserError: the name is unknown.
  """
  kinds: dict[str | None, Any] = {
    "resident": resident.Resident,
    "grain": stream.Stream,
    None: resident.Resident
    if images.nbytes <= limit_mb * 1e6
    else stream.Stream,
  }
  if feed not in kinds:
    raise UserError(
      f"data.feed='{feed}' is not a feed; set it to 'resident' or 'grain', or"
      " leave it out to choose by size."
    )
  return kinds[feed](images)
