"""Training programs of the engine's, to count and to time without a run.

Nothing is computed for a count: shapes are compiled, for devices that need not
be there.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import jax_side, kernels, least, protocol
from benchmarks.jax_side import TRIALS
from medad_jax.data import index, resident
from medad_jax.engine import members, program
from medad_jax.engine.devices import Devices
from medad_jax.methods import ddad
from medad_jax.types import NORMAL, Phase, Pretrained, TrainState, UserError

# RSNA's rows; DDAD-ASR adds 4000 unlabeled ones for its UDM.
_POOLS = index.make_pools(
  (NORMAL, ddad.Unlabelled(extra=4000, anomaly_ratio=0.6).pool()),
  {"train": 3851, "unlabelled_normal": 4000, "unlabelled_abnormal": 5012},
)
_IMAGES = len(_POOLS["mixed"])


class Counts(NamedTuple):
  """Counts of a compiled program, on one of its devices.

  Attributes:
    flops: floating-point operations; the body of a loop counts once.
    bytes: that all its operations and fusions read and write: an upper bound of
      what passes the main memory, as caches are not thought of.
    temporaries: bytes of memory besides arguments and results.
    arguments: bytes of the arguments.
    aliased: bytes of results that take the place of arguments.
    collectives: how many of each of `kernels.COLLECTIVES`.
    moved: bytes that these take in.
  """

  flops: float
  bytes: float
  temporaries: int
  arguments: int
  aliased: int
  collectives: Mapping[str, int]
  moved: int


@dataclasses.dataclass(frozen=True)
class Program:
  """Steps of a phase's members in one call.

  Attributes:
    phase: with its members and its batch size.
    shape: of an image (h, w, c).
    steps: a call takes.
    before: stages that it reads, in their order.
    devices: to spread it over; none for the host's first.
  """

  phase: Phase
  shape: tuple[int, int, int]
  steps: int = 1
  before: tuple[Phase | Pretrained, ...] = ()
  devices: tuple[jax.Device, ...] = ()

  @functools.cached_property
  def engine(self) -> program.Program:
    """The engine's program, on the devices as a run spreads it by default."""
    before = {stage.name: stage for stage in self.before}
    reads = {
      name: members.of_stage(before[name], TRIALS) for name in self.phase.reads
    }
    # One black pixel, seen everywhere: counting must not need the images.
    feed = resident.Resident(_everywhere(np.zeros(self.shape, np.uint8)))
    if self.phase.inputs.prepare is not None:
      one = self.phase.inputs.prepare(np.zeros((1, *self.shape), np.uint8))
      feed = feed.beside({k: _everywhere(v[0]) for k, v in one.items()})
    found, _ = jax_side.make_program(
      self.phase, feed, _POOLS, self._devices, self.steps, reads=reads
    )
    return found

  @functools.cached_property
  def compiled(self) -> jax.stages.Compiled:
    """Compiled for shapes: nothing is run, no image is there."""
    return self.traced.lower().compile()

  @functools.cached_property
  def traced(self) -> jax.stages.Traced:
    """The engine's program for shapes."""
    *before, states = self.states
    earlier = {
      stage.name: state
      for stage, state in zip(self.before, before, strict=True)
    }
    return self.engine.trace(states, earlier)

  @property
  def least(self) -> int:
    """Bytes of states and images that a step moves at least."""
    *before, states = self.states
    names = [stage.name for stage in self.before]
    read = [before[names.index(name)] for name in self.phase.reads]
    inputs, length = self.phase.inputs, self.phase.length
    images = self.phase.members * length.batch_size * inputs.batches
    images *= 2 if inputs.source else 1
    return (
      2 * least.bytes_of(states)
      + least.bytes_of(read)
      + images * int(np.prod(self.shape))
    )

  @functools.cached_property
  def states(self) -> list[TrainState]:
    """Shapes of the final states of the stages before, and of its own."""
    found: dict[str, tuple[Sequence[members.Member], TrainState]] = {}
    for stage in (*self.before, self.phase):
      earlier = {name: found[name] for name in getattr(stage, "reads", ())}
      states = members.abstract_states(stage, TRIALS, self.shape, earlier)
      if stage is not self.phase:
        # A finished stage has no optimizer.
        states = dataclasses.replace(states, opt={})
      found[stage.name] = members.of_stage(stage, TRIALS), states
    return [states for _, states in found.values()]

  def start(self) -> Callable[[int], Any]:
    """A function that takes the steps, each time from where it came to.

    Its argument is not used.
    """
    images = protocol.generate(_IMAGES, self.shape[0], seed=0)[..., None]
    feed = resident.Resident(images.repeat(self.shape[2], -1))
    if self.phase.inputs.prepare is not None:
      feed = feed.beside(self.phase.inputs.prepare(feed.images))
    found: dict[str, tuple[Sequence[members.Member], TrainState]] = {}
    for stage in (*self.before, self.phase):
      earlier = {name: found[name] for name in getattr(stage, "reads", ())}
      states = members.init_states(stage, TRIALS, self.shape, earlier)
      found[stage.name] = members.of_stage(stage, TRIALS), states
    loop = jax_side.Loop(
      self.phase,
      found[self.phase.name][1],
      feed,
      _POOLS,
      self._devices,
      self.steps,
      earlier={name: found[name] for name in self.phase.reads},
    )
    return lambda _: loop.run(self.steps)

  @property
  def _devices(self) -> Devices:
    return Devices(self.devices or host(1))


def read(compiled: jax.stages.Compiled) -> Counts:
  """Counts of a program: XLA's own, or those of its text where it has none."""
  costs, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
  found = kernels.count(compiled.as_text())
  return Counts(
    costs.get("flops", sum(found.operations.values())),
    costs.get("bytes accessed", found.bytes),
    memory.temp_size_in_bytes,
    memory.argument_size_in_bytes,
    memory.alias_size_in_bytes,
    found.collectives,
    found.moved,
  )


def host(devices: int) -> tuple[jax.Device, ...]:
  """The first so many of the host's (simulated) devices.

  Raises:
    UserError: jax was told not to use the host, or it has fewer.
  """
  try:
    found = jax.devices("cpu")
  except RuntimeError as error:
    raise UserError(
      "operations are counted with the host's CPU, which JAX_PLATFORMS leaves"
      " out; unset it, or add ',cpu' to it"
    ) from error
  if len(found) < devices:
    raise UserError(
      f"{devices} simulated devices were asked for and there are {len(found)};"
      f" set XLA_FLAGS=--xla_force_host_platform_device_count={devices}"
    )
  return tuple(found[:devices])


def _everywhere(one: np.ndarray) -> np.ndarray:
  """The same image for every row, without the memory of as many."""
  return np.broadcast_to(one, (_IMAGES, *one.shape))
