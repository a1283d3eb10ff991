"""The loop: every method trains here, stage by stage.

A phase's members share one compiled program (`program.py`). Members with fewer
steps (the NDM of DDAD sees fewer images) leave it when they have finished: the
phase is cut into segments, each compiled for the members still training, so
nothing is computed and thrown away.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools

import numpy as np

from medad_jax.data import feeds, index, resident
from medad_jax.engine import (
  checkpoint,
  fit,
  members,
  parallel,
  processes,
  program,
  reuse,
  validation,
  writers,
)
from medad_jax.engine.calls import Calls
from medad_jax.engine.clock import Clock
from medad_jax.engine.run import Observer, Run, States
from medad_jax.types import Fit, Phase, Pretrained, Stage, TrainState, UserError

# (first step, behind the last one) of a call.
Bounds = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Segment:
  """Steps [start, stop) of the members that still train."""

  start: int
  stop: int
  members: tuple[int, ...]


def train(stages: Sequence[Stage], run: Run) -> States:
  """Runs all stages, or goes on where an earlier run stopped.

  Args:
    stages: what to train, in order.
    run: how and on what.

  Returns:
    The final states by stage, members first, without optimizer states.

  Raises:
    UserError: a loss is not finite, or a checkpoint cannot be written.
  """
  states: States = {}
  origins: dict[str, reuse.Origin] = {}
  who = {stage.name: members.of_stage(stage, run.trials) for stage in stages}
  for stage in stages:
    read = getattr(stage, "reads", ())
    earlier = {name: (who[name], states[name]) for name in read}
    origin = reuse.origin_of(stage, run, origins)
    match stage:
      case Fit():
        given = functools.partial(reuse.found, stage, run, origin, None)
        states[stage.name] = fit.fit(stage, run, earlier, given)
      case Pretrained():
        states[stage.name] = _imported(stage, run)
      case Phase():
        states[stage.name] = PhaseRun(stage, run, earlier, origin).train()
    # Only now is there a finished checkpoint that it can describe.
    reuse.keep(stage, run, origin)
    origins[stage.name] = origin
  return states


def segments(steps: Sequence[int]) -> Iterator[Segment]:
  """Cuts a phase where members finish; `steps` counts each member's."""
  start = 0
  for stop in sorted({n for n in steps if n}):
    # `stop` ascends, so whoever needs fewer steps has already left.
    live = tuple(m for m, n in enumerate(steps) if n >= stop)
    yield Segment(start, stop, live)
    start = stop


def make_order(
  phase: Phase, pools: Mapping[str, np.ndarray], trials: members.Trials
) -> index.Order:
  """The batches of all members of a phase."""
  who = members.of_stage(phase, trials)
  length = phase.length
  copies = phase.inputs.copies
  passes = {}
  for name in {member.rows for member in who}:
    rows = pools[name]
    if length.pass_rows is not None:
      rows = np.resize(rows, length.pass_rows)  # repeats a smaller pool
    passes[name] = index.pairs(rows, copies)
  return index.Order(
    tuple(passes[member.rows] for member in who),
    tuple(member.name for member in who),
    tuple(member.seed for member in who),
    length.batch_size,
    length.drop_last,
    length.epoch_steps,
    phase.inputs.batches,
    copies,
  )


def count_steps(phase: Phase, order: index.Order) -> tuple[int, ...]:
  """Steps of each member of a phase."""
  epoch_steps = order.epoch_steps()
  if phase.length.steps is not None:
    return (phase.length.steps,) * len(epoch_steps)
  return tuple(phase.length.epochs * n for n in epoch_steps)


class PhaseRun:
  """One phase on its way from its first step or a checkpoint to its end.

  Args:
    phase: what is trained.
    run: how and on what.
    earlier: members and final states of the stages that it reads.
    origin: what decides it.
  """

  def __init__(
    self,
    phase: Phase,
    run: Run,
    earlier: program.Earlier,
    origin: reuse.Origin,
  ):
    self.phase, self.run, self.earlier = phase, run, earlier
    self.members = members.of_stage(phase, run.trials)
    self.order = make_order(phase, run.pools, run.trials)
    self.epoch_steps = self.order.epoch_steps()
    self.checkpoints = checkpoint.Checkpoints(
      run.workdir / "checkpoints", phase.name
    )
    self.given, ready = self._given(origin)
    # Members that another run has trained take no steps here.
    counts = count_steps(phase, self.order)
    self.steps = tuple(0 if m in ready else n for m, n in enumerate(counts))

  def train(self) -> TrainState:
    """The phase's final states, without optimizer states."""
    phase, run = self.phase, self.run
    if self.checkpoints.finished:
      run.log.note(f"{phase.name}: already trained")
      return self.checkpoints.final(self._abstract())
    states, done = self._begin()
    # Metrics after the checkpoint will come again, so they are dropped.
    clock = Clock(run.log.rewind(phase.name, done), run.checkpoint_seconds)
    ahead = [s for s in segments(self.steps) if s.stop > done]
    self._announce(states, ahead, done)
    with writers.Progress(
      phase.name, max(self.steps), done, processes.first()
    ) as bar:
      for segment in ahead:
        states = self._segment(segment, states, done, bar, clock)
    states = self.validation.chosen(states)
    # The final states before the best ones are removed: if the process is
    # killed in between, nothing is lost.
    self.checkpoints.finish(states)
    self.validation.clear()
    # On one device, as later stages may use others than this one's last call.
    return parallel.gathered(dataclasses.replace(states, opt={}))

  @functools.cached_property
  def feed(self) -> feeds.Feed:
    """The run's feed, with what this phase prepares and the columns it asks."""
    path = self.run.workdir / "prepared" / f"{self.phase.name}.npz"
    inputs = self.phase.inputs
    with processes.first_before_others("prepared"):
      feed = feeds.prepared(self.run.feed, inputs.prepare, path)
    if not inputs.columns:
      return feed
    return feed.beside(
      {name: self.run.columns[name] for name in inputs.columns}
    )

  @functools.cached_property
  def validation(self) -> Observer:
    """The monitors that measure the phase while it trains."""
    kind = self.run.watch or validation.Validation
    epoch, target = max(self.epoch_steps), self._abstract()
    return kind(self.phase, self.run, epoch, self.steps, target)

  def _abstract(self) -> TrainState:
    run = self.run
    return members.abstract_states(
      self.phase, run.trials, run.shape, self.earlier
    )

  def _given(
    self, origin: reuse.Origin
  ) -> tuple[tuple[list[int], TrainState] | None, list[int]]:
    """Members taken over now, and the numbers of all that ever were."""
    run = self.run
    if self.checkpoints.finished:
      return None, []
    # A checkpoint on the way holds them already, whatever the other run holds.
    if self.checkpoints.latest() is not None:
      return None, reuse.remembered(run.workdir, self.phase.name)
    given = reuse.found(self.phase, run, origin, self._abstract())
    here = [] if given is None else given[0]
    reuse.remember(run.workdir, self.phase.name, here)
    return given, here

  def _begin(self) -> tuple[TrainState, int]:
    """The states to start from and the steps they have behind them."""
    done = self.checkpoints.latest()
    if done is not None:
      return self.checkpoints.restore(done, self._abstract()), done
    run = self.run
    states = members.init_states(
      self.phase, run.trials, run.shape, self.earlier
    )
    if self.given is None:
      return states, 0
    here, given = self.given
    run.log.note(
      f"{self.phase.name}: {len(here)} of {len(self.members)} member(s) taken"
      f" from {run.reuse}"
    )
    return reuse.placed(states, here, given), 0

  def _announce(
    self, states: TrainState, ahead: Sequence[Segment], done: int
  ) -> None:
    """One line for the terminal; names and sizes go into a file."""
    run = self.run
    size = self.order.step_size(0)
    used = [run.devices.layout(len(s.members), size).used for s in ahead]
    table, total = writers.parameter_table(states.params)
    run.log.keep(f"parameters/{self.phase.name}.txt", table)
    run.log.note(
      f"{self.phase.name}: {len(self.members)} member(s), {total},"
      f" {max(self.steps):,} steps, from step {done:,}, on"
      f" {max(used, default=0)} device(s)"
    )
    if not any(count_steps(self.phase, self.order)):
      run.log.note(
        f"{self.phase.name}: its length is 0; nets stay as initialized"
      )
    # Nets that keep no running averages have nothing to lose by it.
    if states.extra and (few := self.order.few()):
      run.log.note(f"{self.phase.name}: {few}")

  def _segment(
    self,
    segment: Segment,
    states: TrainState,
    done: int,
    bar: writers.Progress,
    clock: Clock,
  ) -> TrainState:
    """Takes the segment's steps; `states` and the result hold all members."""
    bounds = self._bounds(segment, done)
    calls = Calls(lambda size: self._program(segment, size), self.earlier)
    bar.pause()  # the segment's program is compiled first
    pending = None
    # What reads ahead ends with the loop, however that ends.
    with contextlib.closing(self._chunks(segment, bounds, calls)) as chunks:
      for (start, stop), chunk in zip(bounds, chunks, strict=True):
        running = calls.running(self.order.step_size(start), states)
        calls.placed, found = running.call(
          calls.placed, calls.constants(running), chunk
        )
        # Reading the call before last lets the host prepare the next one while
        # the device works on this one.
        if pending is not None:
          self._record(*pending, bar, clock)
        read = functools.partial(running.metrics, found, stop - start)
        pending = (segment, start, stop, read)
        measures = self.validation.due(start, stop, max(self.steps))
        # Asked in every call, as processes must ask together.
        saves = clock.due()
        if measures or saves:
          self._record(*pending, bar, clock)  # never keep what is not finite
          pending = None
        # Both copy the states; the next call takes their memory.
        if measures:
          self.validation.measure(stop, calls.gather(states))
        if saves:
          self.checkpoints.save(stop, calls.gather(states))
          clock.saved()
    if pending is not None:
      self._record(*pending, bar, clock)
    return calls.gather(states)

  def _chunks(self, segment, bounds, calls) -> resident.Chunks:
    """The batches of all calls; whole and smaller ones have their own parts."""
    return self.feed.chunks(
      self.order,
      bounds,
      segment.members,
      self.phase.inputs.source,
      lambda k, rows: calls.program(rows).layout.part(k, rows),
    )

  def _program(self, segment: Segment, size: int) -> program.Program:
    """The program of a segment for batches of a size."""
    run = self.run
    # A smaller batch ends an epoch: its calls take one step, and chunks of
    # `steps_per_call` copies of it would be moved for nothing.
    whole = size == self.phase.length.batch_size
    return program.Program(
      self.phase,
      run.devices.layout(len(segment.members), size),
      self.feed,
      self.order,
      run.trials,
      segment.members,
      {name: who for name, (who, _) in self.earlier.items()},
      run.steps_per_call if whole else 1,
      run.variant_of(self.phase.name),
      run.view,
    )

  def _bounds(self, segment: Segment, done: int) -> Bounds:
    """Starts and stops of calls; a call holds batches of one size."""
    most = self.run.steps_per_call
    whole = [(segment.start, segment.stop)]
    if self.order.remainder:  # then every epoch ends with a smaller step
      length = self.epoch_steps[0]
      # An epoch's whole batches and its smaller last one have two shapes, so
      # they never share a call.
      ends = range(length, segment.stop + length, length)
      whole = [
        (start, min(stop, segment.stop))
        for end in ends
        for start, stop in ((end - length, end - 1), (end - 1, end))
        if start < segment.stop
      ]
    return [
      (start, min(start + most, stop))
      for first, stop in whole
      for start in range(max(first, done), stop, most)
    ]

  def _record(self, segment, start, stop, read, bar, clock) -> None:
    """Writes the means over a call's steps, one value a member."""
    whole = read()
    # First: a diverged run must leave neither curves nor checkpoints of it.
    self._check_finite(whole["loss"], segment, start)
    rows = {}
    for name, values in whole.items():
      # Members that have finished leave a gap, so column k is always member k.
      row: list[float | None] = [None] * len(self.members)
      for member, value in zip(segment.members, values.mean(0), strict=True):
        row[member] = float(value)
      rows[name] = row
    rows["seconds"] = clock.seconds()
    self.run.log.scalars(self.phase.name, stop, rows)
    size = self.order.step_size(start) * self.phase.inputs.batches
    images = (stop - start) * len(segment.members) * size
    bar.update(stop - start, images, float(whole["loss"].mean()))

  def _check_finite(
    self, loss: np.ndarray, segment: Segment, start: int
  ) -> None:
    bad = np.argwhere(~np.isfinite(loss))
    # Who watches compares trials, and one that diverges leaves the others.
    if not len(bad) or self.run.watch is not None:
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
    several = len(self.run.trials) > 1
    return found.name + (f" (seed {found.seed})" if several else "")


def _imported(stage: Pretrained, run: Run) -> TrainState:
  """The stage's state, from its checkpoint or from this user's weights."""
  saved = checkpoint.Checkpoints(run.workdir / "checkpoints", stage.name)
  if saved.finished:
    run.log.note(f"{stage.name}: already imported")
    return saved.final(members.abstract_states(stage, run.trials, run.shape))
  states = members.init_states(stage, run.trials, run.shape)
  saved.finish(states)
  run.log.note(f"{stage.name}: {', '.join(stage.origins)} kept with the run")
  return states
