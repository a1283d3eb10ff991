"""This project as a side of the comparisons: the engine's own programs.

Phases come from the configurations, segments and batches from `engine.train`,
calls from `engine.program`, scores from `engine.scorer`. `Loop` does the host's
part of training (row numbers, arrays to the devices, metrics back one call
late, checked and written) but keeps no checkpoints.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from pathlib import Path
import tempfile
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from benchmarks import sides, turns
from benchmarks.protocol import Part, Protocol
from configs import dpa, fanogan, piad, ra, reconstruction, rsna_ddad, ssl
from medad_jax.data import feeds, index
from medad_jax.engine import config as configuration
from medad_jax.engine import cores, members, program, scorer, train, writers
from medad_jax.engine.devices import Devices
from medad_jax.types import Phase, TrainState

TRIALS = members.seeds(0, 1)
# By name: the configuration's file and its argument.
_SINGLE: dict[str, tuple[Callable[[str], ConfigDict], str]] = {
  "ae": (reconstruction.get_config, "rsna/ae"),
  "dae": (reconstruction.get_config, "rsna/dae"),
  "dpa": (dpa.get_config, "rsna/wo_pg"),
  "ra": (ra.get_config, "ixi"),
  "piad": (piad.get_config, "rsna/reproduce"),
  "fanogan": (fanogan.get_config, "rsna"),
  "cutpaste-2s": (ssl.get_config, "rsna/cutpaste-2s"),
}


def make_program(
  phase: Phase,
  feed: feeds.Feed,
  pools: Mapping[str, np.ndarray],
  devices: Devices,
  steps_per_call: int,
  number: int = 0,
  reads: Mapping[str, Sequence[members.Member]] | None = None,
) -> tuple[program.Program, train.Segment]:
  """The engine's program of a phase's segment of that number.

  Args:
    phase: what trains.
    feed: its images.
    pools: rows of the feed by pool name.
    devices: of the run.
    steps_per_call: at most.
    number: of the segment; in the first one all members train.
    reads: members of the stages that the phase reads.
  """
  order = train.make_order(phase, pools, TRIALS)
  segment = list(train.segments(train.count_steps(phase, order)))[number]
  layout = devices.layout(len(segment.members), phase.length.batch_size)
  found = program.Program(
    phase,
    layout,
    feed,
    order,
    TRIALS,
    segment.members,
    reads or {},
    steps_per_call,
  )
  return found, segment


class Loop:
  """A segment of a phase, one call of its program after another.

  It takes the arguments of `make_program`, and besides them

  Args:
    states: of all the phase's members before their first step.
    earlier: members and final states of the stages that the phase reads.

  Attributes:
    states: of the segment's members, after the steps taken so far.
  """

  def __init__(
    self,
    phase: Phase,
    states: TrainState,
    feed: feeds.Feed,
    pools: Mapping[str, np.ndarray],
    devices: Devices,
    steps_per_call: int,
    number: int = 0,
    earlier: program.Earlier | None = None,
  ):
    earlier = earlier or {}
    reads = {name: who for name, (who, _) in earlier.items()}
    self._program, self._segment = make_program(
      phase, feed, pools, devices, steps_per_call, number, reads
    )
    # Copies, as calls consume what they are given.
    self.states = self._program.place(jax.device_put(states, may_alias=False))
    self._constants = self._program.constants(earlier)
    self._at = self._segment.start
    self._folder = tempfile.TemporaryDirectory()
    self._log = writers.Writers(Path(self._folder.name))

  def run(self, steps: int) -> int:
    """Takes that many steps and returns their number."""
    bounds = list(self._bounds(steps))
    pending = None
    chunks = self._program.chunks(bounds)
    for (start, stop), chunk in zip(bounds, chunks, strict=True):
      self.states, found = self._program.call(
        self.states, self._constants, chunk
      )
      # One call late, as in training: the device never waits for the host.
      if pending is not None:
        self._record(*pending)
      pending = stop, found, stop - start
    if pending is not None:
      self._record(*pending)
    jax.block_until_ready(self.states)
    return steps

  def close(self) -> None:
    """Ends the writing of metrics."""
    self._log.close()
    self._folder.cleanup()

  def _bounds(self, steps: int):
    """The next calls' steps; after the segment's last step its first ones."""
    while steps:
      start = self._at
      most = min(steps, self._program.steps_per_call)
      # A call never passes the segment's end, as in training.
      stop = min(start + most, self._segment.stop)
      yield start, stop
      steps -= stop - start
      self._at = self._segment.start if stop == self._segment.stop else stop

  def _record(self, stop: int, found: Any, count: int) -> None:
    whole = self._program.metrics(found, count)
    if not np.isfinite(whole["loss"]).all():
      raise FloatingPointError(f"the loss at step {stop} is not finite")
    rows = {name: values.mean(0).tolist() for name, values in whole.items()}
    self._log.scalars(self._program.phase.name, stop, rows)


class _Jax(sides.Parts):
  """Parts of this project that are made, kept and run.

  Args:
    config: of the method.
    protocol: sizes and counts.
  """

  def __init__(self, config: ConfigDict, protocol: Protocol):
    super().__init__()
    config.data.image_size = protocol.size
    config.model.precision = protocol.precision
    config.train.batch_size = protocol.batch
    config.train.epochs = protocol.epochs
    self._protocol, self._steps_per_call = protocol, config.steps_per_call
    self.method = configuration.build_method(config.to_dict())
    self._phases = {phase.name: phase for phase in self.method.phases()}
    # Before anything asks JAX for its devices.
    self._devices = cores.devices(max(p.members for p in self._phases.values()))
    images = protocol.training_images()[..., None]
    if config.data.channels > 1:
      images = images.repeat(config.data.channels, -1)
    self._feed = feeds.choose(images, "resident", 0.0)
    rows = np.arange(len(images))
    self._pools = {index.NORMAL: rows[: protocol.normal], "mixed": rows}
    self._loops: list[Loop] = []

  def about(self) -> tuple[str, str]:
    """The machine and the versions; the kind of device."""
    return turns.machine(), jax.default_backend()

  def close(self) -> None:
    """Ends all parts."""
    super().close()
    for loop in self._loops:
      loop.close()

  def memory(self) -> dict[str, int | None]:
    """Peaks in bytes."""
    stats = jax.local_devices()[0].memory_stats()
    device = stats["peak_bytes_in_use"] if stats else None
    return {"host": sides.peak_host(), "device": device}

  def _steps(self, name: str, number: int = 0) -> sides.Run:
    """Steps of a phase's segment of that number."""
    phase = self._phases[name]
    earlier = {
      read: (members.of_stage(self._phases[read], TRIALS), self._final(read))
      for read in phase.reads
    }
    loop = Loop(
      phase,
      self._initial(name),
      self._feed,
      self._pools,
      self._devices,
      self._steps_per_call,
      number,
      earlier,
    )
    self._loops.append(loop)
    return loop.run

  def _final(self, name: str) -> TrainState:
    """A phase's states as a later one sees them; untrained cost the same."""
    return dataclasses.replace(self._initial(name), opt={})

  @functools.cache  # noqa: B019 - a process has one side
  def _initial(self, name: str) -> TrainState:
    """Made once: in a run too they lie beside the copies that train."""
    shape = self._feed.images.shape[1:]
    return members.init_states(self._phases[name], TRIALS, shape)


class Ddad(_Jax):
  """DDAD-ASR by configs/rsna_ddad.py.

  Args:
    protocol: sizes and counts.
    test_batch: images a call in tests.
    options: none.
  """

  def __init__(
    self, protocol: Protocol, test_batch: int, options: dict[str, Any]
  ):
    del options
    config = rsna_ddad.get_config()
    config.data.extra = protocol.unlabelled
    config.ensemble.size = protocol.members
    config.refine.batch_size = protocol.refine_batch
    config.refine.epochs = protocol.refine_epochs
    super().__init__(config, protocol)
    self._test_batch = test_batch

  def parts(self) -> list[Part]:
    """Two segments of the ensembles, then the rest."""
    p = self._protocol
    return [
      *p.together(),
      Part("refinement", "refinement net", p.refine_steps),
      Part("evaluation", "all scores", p.tests, "images"),
    ]

  def _make(self, part):
    if part.phase == "ensembles":
      return self._steps("ensemble", self._protocol.together().index(part))
    if part.phase == "refinement":
      return self._steps(list(self._phases)[1])
    states = {name: self._final(name) for name in self._phases}
    found = scorer.Scorer(self.method, states, self._test_batch, self._devices)
    images = self._protocol.test_images()[..., None]

    def run(amount):
      found.images(images[:amount])
      return min(amount, len(images))

    return run


class Single(_Jax):
  """One method, by its published configuration.

  Args:
    name: of `_SINGLE`.
    protocol: images, batch, size and epochs of it.
    options: none.
  """

  def __init__(self, name: str, protocol: Protocol, options: dict[str, Any]):
    del options
    make, argument = _SINGLE[name]
    config = make(argument)
    if "weights" in config.model:
      config.model.weights = "random"
    for stage in {"gan", "train"} & set(config):
      config[stage].batch_size = protocol.batch
      config[stage].steps = None  # epochs, whatever is published
      config[stage].epochs = protocol.epochs
      # A smaller last batch would be a second program, and no side has one.
      config[stage].drop_last = True
    super().__init__(config, protocol)
    # Of f-AnoGAN the GAN is timed, not its encoder.
    self._phase = "gan" if "gan" in self._phases else "train"

  def parts(self) -> list[Part]:
    """Training alone."""
    return [Part("training", "steps", self._protocol.normative_steps)]

  def _make(self, part):
    del part  # there is one
    return self._steps(self._phase)
