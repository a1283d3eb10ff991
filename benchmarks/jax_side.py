"""This project as a side of the comparisons: the engine's own programs.

Phases come from the configurations, segments, batches and compiled calls from
`engine.train`, scores from `engine.scorer`. `Loop` goes from call to call as
`train.PhaseRun` does, with all its host work (row numbers, arrays to the
device, metrics back one call late, checked and written) but checkpoints.
"""

import dataclasses
from pathlib import Path
import tempfile
import time
from typing import Any

import jax
import numpy as np

from benchmarks import sides, turns
from benchmarks.protocol import Part, Protocol
from configs import reconstruction, rsna_ddad
from medad_jax.data import feeds, index
from medad_jax.engine import (
  config as configuration,
)
from medad_jax.engine import (
  cores,
  members,
  program,
  scorer,
  train,
  writers,
)
from medad_jax.engine.devices import Devices
from medad_jax.types import Phase, TrainState

_TRIALS = members.seeds(0, 1)


class Loop:
  """A segment of a phase, one compiled call after another.

  Args:
    phase: what trains.
    states: of all its members before their first step.
    feed: its images.
    pools: rows of the feed by pool name.
    devices: of the run.
    steps_per_call: at most.
    number: which of the phase's segments.
    earlier: members and final states of the stages that the phase reads.

  Attributes:
    states: of the segment's members, after the steps taken so far.
  """

  def __init__(
    self,
    phase: Phase,
    states: TrainState,
    feed: feeds.Feed,
    pools: dict[str, np.ndarray],
    devices: Devices,
    steps_per_call: int,
    number: int = 0,
    earlier: program.Earlier | None = None,
  ):
    earlier = earlier or {}
    order = train.make_order(phase, pools, _TRIALS)
    steps = train.count_steps(phase, order)
    self._segment = list(train.segments(steps))[number]
    live = self._segment.members
    self._program = program.Program(
      phase,
      devices.layout(len(live), phase.length.batch_size),
      feed,
      order,
      _TRIALS,
      live,
      {name: who for name, (who, _) in earlier.items()},
      steps_per_call,
    )
    # Copies, as calls consume what they are given.
    self.states = self._program.place(jax.device_put(states, may_alias=False))
    self._constants = self._program.constants(earlier)
    self._take = steps_per_call
    self._at = self._segment.start
    self._folder = tempfile.TemporaryDirectory()
    self._log = writers.Writers(Path(self._folder.name))

  def run(self, steps: int) -> int:
    """Takes at least that many steps, in whole calls; returns how many."""
    bounds = [self._next() for _ in range(-(-steps // self._take))]
    pending = None
    chunks = self._program.chunks(bounds)
    for (start, stop), chunk in zip(bounds, chunks, strict=True):
      self.states, found = self._program.call(
        self.states, self._constants, chunk
      )
      if pending is not None:
        self._record(*pending)
      pending = stop, found, stop - start
    if pending is not None:
      self._record(*pending)
    jax.block_until_ready(self.states)
    return sum(stop - start for start, stop in bounds)

  def close(self) -> None:
    """Ends the writing of metrics."""
    self._log.close()
    self._folder.cleanup()

  def _next(self) -> tuple[int, int]:
    """The next call's steps; after the last one the first ones again."""
    start = self._at
    stop = min(start + self._take, self._segment.stop)
    done = stop == self._segment.stop
    self._at = self._segment.start if done else stop
    return start, stop

  def _record(self, stop: int, found: Any, count: int) -> None:
    whole = self._program.metrics(found, count)
    if not np.isfinite(whole["loss"]).all():
      raise FloatingPointError(f"the loss at step {stop} is not finite")
    rows = {name: values.mean(0).tolist() for name, values in whole.items()}
    self._log.scalars(self._program.phase.name, stop, rows)


class Scoring:
  """The scores of test images."""

  def __init__(self, found: scorer.Scorer, images: np.ndarray):
    self._scorer, self._images = found, images

  def run(self, images: int) -> int:
    """Scores the first images; returns how many."""
    part = self._images[:images]
    self._scorer.images(part)
    return len(part)

  def close(self) -> None:
    """Nothing is open."""


class _Jax:
  """What the two sides share: parts that are made, kept and run."""

  def __init__(self):
    self._kept: dict[Part, Loop | Scoring] = {}

  def about(self) -> tuple[str, str]:
    """The machine and the versions; the kind of device."""
    return turns.machine(), jax.default_backend()

  def choose(self) -> tuple[dict[str, Any], list[str]]:
    """Nothing: the engine decides."""
    return {}, []

  def visit(self, part: Part, keep: bool) -> None:
    """Compiles a part and makes its first call."""
    made = self._make(part)
    made.run(1)
    if keep:
      self._kept[part] = made
    else:
      made.close()

  def run(self, part: Part, amount: int) -> tuple[int, float]:
    """Does at least `amount` units; how many, and the seconds."""
    start = time.perf_counter()
    done = self._kept[part].run(amount)
    return done, time.perf_counter() - start

  def close(self) -> None:
    """Ends all parts."""
    for made in self._kept.values():
      made.close()

  def memory(self) -> dict[str, int | None]:
    """Peaks in bytes."""
    stats = jax.local_devices()[0].memory_stats()
    device = stats["peak_bytes_in_use"] if stats else None
    return {"host": sides.peak_host(), "device": device}

  def _make(self, part: Part) -> "Loop | Scoring":
    """A part, compiled when it first runs."""
    raise NotImplementedError


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
    super().__init__()
    del options
    self._protocol, self._test_batch = protocol, test_batch
    self._config = ddad_config(protocol)
    self._method = configuration.build_method(self._config)
    self._ensemble, self._refine = self._method.phases()
    images = protocol.training_images()[..., None]
    self._feed = feeds.choose(images, "resident", 0.0)
    self._pools = _pools(protocol)
    self._devices = cores.devices(self._ensemble.members)
    self._states: dict[str, TrainState] = {}

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
      return self._loop(self._ensemble, self._protocol.together().index(part))
    if part.phase == "refinement":
      who = members.of_stage(self._ensemble, _TRIALS)
      earlier = {"ensemble": (who, self._final("ensemble"))}
      return self._loop(self._refine, 0, earlier)
    return self._score()

  def _loop(self, phase, number, earlier=None):
    return Loop(
      phase,
      self._initial(phase.name),
      self._feed,
      self._pools,
      self._devices,
      self._config["steps_per_call"],
      number,
      earlier,
    )

  def _score(self):
    names = (self._ensemble.name, self._refine.name)
    states = {name: self._final(name) for name in names}
    found = scorer.Scorer(self._method, states, self._test_batch, self._devices)
    return Scoring(found, self._protocol.test_images()[..., None])

  def _final(self, name: str) -> TrainState:
    """A phase's states as a later one sees them; untrained cost the same."""
    return dataclasses.replace(self._initial(name), opt={})

  def _initial(self, name: str) -> TrainState:
    """Made once: in a run too they lie beside the copies that train."""
    if name not in self._states:
      phase = next(p for p in self._method.phases() if p.name == name)
      shape = self._feed.images.shape[1:]
      self._states[name] = members.init_states(phase, _TRIALS, shape)
    return self._states[name]


class Reconstruction(_Jax):
  """One net of configs/reconstruction.py.

  Args:
    net: "ae" or "dae".
    protocol: images, batch, size and epochs of it.
    options: none.
  """

  def __init__(self, net: str, protocol: Protocol, options: dict[str, Any]):
    super().__init__()
    del options
    self._protocol = protocol
    config = reconstruction.get_config(f"rsna/{net}")
    config.data.image_size = protocol.size
    config.model.precision = protocol.precision
    config.train.batch_size = protocol.batch
    config.train.epochs = protocol.epochs
    config.train.drop_last = True
    self._config = config
    (self._phase,) = configuration.build_method(config.to_dict()).phases()

  def parts(self) -> list[Part]:
    """Training alone."""
    return [Part("training", "steps", self._protocol.normative_steps)]

  def _make(self, part):
    protocol = self._protocol
    images = protocol.training_images()[..., None]
    devices = cores.devices(1)
    return Loop(
      self._phase,
      members.init_states(self._phase, _TRIALS, images.shape[1:]),
      feeds.choose(images, "resident", 0.0),
      {index.NORMAL: np.arange(protocol.normal)},
      devices,
      self._config["steps_per_call"],
    )


def ddad_config(protocol: Protocol) -> dict[str, Any]:
  """configs/rsna_ddad.py with the protocol's sizes and counts."""
  config = rsna_ddad.get_config()
  config.data.image_size = protocol.size
  config.data.extra = protocol.unlabelled
  config.model.precision = protocol.precision
  config.ensemble.size = protocol.members
  config.train.batch_size = protocol.batch
  config.train.epochs = protocol.epochs
  config.refine.batch_size = protocol.refine_batch
  config.refine.epochs = protocol.refine_epochs
  return config.to_dict()


def _pools(protocol: Protocol) -> dict[str, np.ndarray]:
  normal, unlabelled = protocol.normal, protocol.unlabelled
  return {
    index.NORMAL: np.arange(normal),
    "mixed": np.arange(normal + unlabelled),
  }
