"""DDAD-ASR's programs at any size: what they count, and calls that run them.

The programs are the engine's own, of the phases that configs/rsna_ddad.py
describes, on RSNA's number of generated images. Counting needs no memory, as
programs are compiled for shapes. It is done with programs for the host's CPU,
whatever device is there: XLA does not count the matrix products that compilers
for accelerators hand to a library.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from configs import rsna_ddad
from medad_jax.data import index, resident
from medad_jax.engine import config as configuration
from medad_jax.engine import members, program, scorer, train
from medad_jax.engine.devices import Devices
from medad_jax.methods import ddad
from medad_jax.types import (
  NORMAL,
  Batch,
  Phase,
  Scores,
  TrainState,
  UserError,
)

COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "collective-permute",
  "all-to-all",
  "reduce-scatter",
)
PRECISIONS = ("float32", "bfloat16")
_TRIALS = members.seeds(0, 1)
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
    aliased: bytes of results that take the place of arguments.
    collectives: how many of each of `COLLECTIVES`.
  """

  flops: float
  bytes: float
  temporaries: int
  aliased: int
  collectives: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Program:
  """Steps of a phase's members in one call.

  Attributes:
    phase: with its members and its batch size.
    side: of the square images of one channel, pixels.
    steps: a call takes.
    before: phases whose final states it sees.
    devices: to spread it over; none for the host's first.
  """

  phase: Phase
  side: int
  steps: int = 1
  before: tuple[Phase, ...] = ()
  devices: tuple[jax.Device, ...] = ()

  @functools.cached_property
  def engine(self) -> program.Program:
    """The engine's program, on the devices as a run spreads it by default."""
    devices = Devices(self.devices or host(1))
    size = self.phase.length.batch_size
    before = {stage.name: stage for stage in self.before}
    return program.Program(
      self.phase,
      devices.layout(self.phase.members, size),
      self._feed(),
      train.make_order(self.phase, _POOLS, _TRIALS),
      _TRIALS,
      tuple(range(self.phase.members)),
      {s: members.of_stage(before[s], _TRIALS) for s in self.phase.reads},
      self.steps,
    )

  @functools.cached_property
  def compiled(self) -> jax.stages.Compiled:
    """Compiled for shapes: nothing is run, no image is there."""
    states = members.abstract_states(self.phase, _TRIALS, self._shape)
    before = _finals(members.abstract_states, self.before, self._shape)
    return self.engine.lower(states, before).compile()

  def on_host(self) -> "Program":
    """The program for as many of the host's devices, if it is not."""
    if not self.devices or self.devices[0].platform == "cpu":
      return self
    return dataclasses.replace(self, devices=host(len(self.devices)))

  def start(self) -> Callable[[int], Any]:
    """A function that takes the steps, each time from where it came to.

    Its argument is not used; its result holds the metrics.
    """
    ready = dataclasses.replace(
      self.engine, feed=resident.Resident(noise(_IMAGES, self.side))
    )
    states = members.init_states(self.phase, _TRIALS, self._shape)
    before = _finals(members.init_states, self.before, self._shape)
    earlier = {s: (who, before[s]) for s, who in ready.reads.items()}
    placed, constants = ready.place(states), ready.constants(earlier)
    (chunk,) = ready.chunks([(0, self.steps)])

    def take(_: int) -> Any:
      nonlocal placed
      placed, metrics = ready.call(placed, constants, chunk)
      return metrics

    return take

  @property
  def _shape(self) -> tuple[int, int, int]:
    return (self.side, self.side, 1)

  def _feed(self) -> resident.Resident:
    """Black images: one number, seen everywhere."""
    pixel = np.zeros((), np.uint8)
    return resident.Resident(np.broadcast_to(pixel, (_IMAGES, *self._shape)))


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """All scores and maps of a batch of images.

  Attributes:
    method: what scores.
    side: of the square images of one channel, pixels.
    batch: images a call.
  """

  method: ddad.Method
  side: int
  batch: int

  @functools.cached_property
  def compiled(self) -> jax.stages.Compiled:
    """Compiled for shapes and the host's first device."""
    with jax.default_device(host(1)[0]):
      return jax.jit(self.score).lower(*self.shapes()).compile()

  def score(
    self, states: Mapping[str, TrainState], images: jax.Array
  ) -> Scores:
    """The function of the engine's scorer."""
    numbers = jnp.arange(len(images))
    batch = Batch(
      image=resident.normalize(images),
      label=jnp.full(numbers.shape, -1),
      valid=numbers >= 0,
      slot=numbers,
      id=numbers,
    )
    return scorer.score_function(self.method, len(_TRIALS))(states, batch)

  def shapes(self) -> tuple[Any, ...]:
    """Shapes of the arguments of `score`."""
    shape = (self.side, self.side, 1)
    states = _finals(members.abstract_states, self.method.phases(), shape)
    images = jax.ShapeDtypeStruct((self.batch, *shape), np.uint8)
    return _shapes((states, images))

  def start(self, calls: int) -> Callable[[int], Any]:
    """A function that scores so many batches; its argument is not used."""
    shape = (self.side, self.side, 1)
    states = _finals(members.init_states, self.method.phases(), shape)
    devices = Devices(tuple(jax.devices()))
    ready = scorer.Scorer(self.method, states, self.batch, devices)
    images = noise(calls * self.batch, self.side)
    return lambda _: ready.images(images)


def rsna(
  count: int, batch: int, refine_batch: int = 8, precision: str = "float32"
) -> ddad.Method:
  """DDAD-ASR as configs/rsna_ddad.py describes it, but for these sizes.

  Args:
    count: members of both ensembles together.
    batch: images of a step of the ensembles.
    refine_batch: images of a step of the refinement net.
    precision: of all nets, one of `PRECISIONS`.

  Raises:
    UserError: there are no two ensembles of that many members.
  """
  if count % 2 or count < 4:
    raise UserError(
      f"{count} members make no two ensembles; give an even number of them,"
      " 4 or more"
    )
  config = rsna_ddad.get_config()
  config.ensemble.size = count // 2
  config.train.batch_size = batch
  config.refine.batch_size = refine_batch
  config.model.precision = precision
  method = configuration.build_method(config.to_dict())
  assert isinstance(method, ddad.Method)
  return method


def ensemble(count: int, batch: int, precision: str = "float32") -> Phase:
  """The ensembles' phase with any number of members, the larger half UDM."""
  unknown = -(-count // 2)
  phase = rsna(6, batch, precision=precision).phases()[0]
  assert isinstance(phase, Phase)
  mixed, normal = phase.pools[0], phase.pools[-1]
  pools = (mixed,) * unknown + (normal,) * (count - unknown)
  return dataclasses.replace(phase, pools=pools)


def steps_per_call() -> int:
  """Steps of one call of a training with that configuration."""
  return rsna_ddad.get_config().steps_per_call


def read(compiled: jax.stages.Compiled) -> Counts:
  """XLA's own counts of a program."""
  costs, memory = compiled.cost_analysis(), compiled.memory_analysis()
  return Counts(
    costs["flops"],
    costs["bytes accessed"],
    memory.temp_size_in_bytes,
    memory.alias_size_in_bytes,
    collectives(compiled.as_text()),
  )


def collectives(text: str) -> dict[str, int]:
  """The number of a program's instructions that make devices wait for others.

  One that is cut into a start and an end counts once.
  """
  return {
    kind: len(re.findall(rf"\s{kind}(-start)?\(", text)) for kind in COLLECTIVES
  }


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


def noise(images: int, side: int) -> np.ndarray:
  """uint8 images [n side side 1]."""
  draw = np.random.default_rng(0)
  return draw.integers(0, 256, (images, side, side, 1), np.uint8)


def positive(text: str) -> int:
  """A flag's number of 1 or more."""
  if not text.isdecimal() or not int(text):
    raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
  return int(text)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
  """Columns of equal width, the first one to the left."""
  lines = [[str(cell) for cell in line] for line in (header, *rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return "\n".join(
    "  ".join(
      cell.rjust(width) if place else cell.ljust(width)
      for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    for line in lines
  )


def _finals(
  make: Callable[..., TrainState],
  phases: Sequence[Phase],
  shape: tuple[int, int, int],
) -> dict[str, TrainState]:
  """What later phases and evaluation see of phases: no optimizers."""
  return {
    phase.name: dataclasses.replace(make(phase, _TRIALS, shape), opt={})
    for phase in phases
  }


def _shapes(tree: Any) -> Any:
  """Shapes and types; where the arrays lie is the program's to say."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
