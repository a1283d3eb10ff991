"""Programs of DDAD-ASR at any size: what they count, and calls that run them.

The programs are the engine's own, on RSNA's number of generated images.
Counting needs no memory, as programs are compiled for shapes. It is done with
programs for the host's CPU, whatever device is there: XLA does not count the
matrix products that compilers for accelerators hand to a library.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import jax_side
from benchmarks.jax_side import TRIALS
from benchmarks.protocol import generate
from configs import rsna_ddad
from medad_jax.data import index, resident
from medad_jax.engine import config as configuration
from medad_jax.engine import members, program
from medad_jax.engine.devices import Devices
from medad_jax.methods import ddad
from medad_jax.types import NORMAL, Phase, UserError

COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "collective-permute",
  "all-to-all",
  "reduce-scatter",
)
PRECISIONS = ("float32", "bfloat16")
# RSNA's rows; DDAD-ASR adds 4000 unlabelled ones for its UDM.
_POOLS = index.make_pools(
  (NORMAL, ddad.Unlabelled(extra=4000, anomaly_ratio=0.6).pool()),
  {"train": 3851, "unlabelled_normal": 4000, "unlabelled_abnormal": 5012},
)
_IMAGES = len(_POOLS["mixed"])


class Counts(NamedTuple):
  """Of a compiled program, on one of its devices.

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
    before = {stage.name: stage for stage in self.before}
    reads = {
      name: members.of_stage(before[name], TRIALS) for name in self.phase.reads
    }
    # Black images: one number, seen everywhere.
    images = np.broadcast_to(np.zeros((), np.uint8), (_IMAGES, *self._shape))
    feed = resident.Resident(images)
    found, _ = jax_side.make_program(
      self.phase, feed, _POOLS, self._devices, self.steps, reads=reads
    )
    return found

  @functools.cached_property
  def compiled(self) -> jax.stages.Compiled:
    """Compiled for shapes: nothing is run, no image is there."""
    found = {
      phase.name: members.abstract_states(phase, TRIALS, self._shape)
      for phase in (self.phase, *self.before)
    }
    states = found.pop(self.phase.name)
    earlier = {n: dataclasses.replace(s, opt={}) for n, s in found.items()}
    return self.engine.lower(states, earlier).compile()

  def on_host(self) -> "Program":
    """The program for as many of the host's devices, if it is not."""
    if not self.devices or self.devices[0].platform == "cpu":
      return self
    return dataclasses.replace(self, devices=host(len(self.devices)))

  def start(self) -> Callable[[int], Any]:
    """A function that takes the steps, each time from where it came to.

    It is there for phases that read no other. Its argument is not used.
    """
    loop = jax_side.Loop(
      self.phase,
      members.init_states(self.phase, TRIALS, self._shape),
      resident.Resident(generate(_IMAGES, self.side, seed=0)[..., None]),
      _POOLS,
      self._devices,
      self.steps,
    )
    return lambda _: loop.run(self.steps)

  @property
  def _shape(self) -> tuple[int, int, int]:
    return (self.side, self.side, 1)

  @property
  def _devices(self) -> Devices:
    return Devices(self.devices or host(1))


def ensemble(count: int, batch: int, precision: str = "float32") -> Phase:
  """DDAD-ASR's ensembles with any number of members, the larger half UDM.

  Args:
    count: members of both ensembles together.
    batch: images of a step.
    precision: of the nets, one of `PRECISIONS`.
  """
  config = rsna_ddad.get_config()
  config.train.batch_size = batch
  config.model.precision = precision
  phase = configuration.build_method(config.to_dict()).phases()[0]
  assert isinstance(phase, Phase)
  mixed, normal = phase.pools[0], phase.pools[-1]
  unknown = -(-count // 2)
  pools = (mixed,) * unknown + (normal,) * (count - unknown)
  return dataclasses.replace(phase, pools=pools)


def steps_per_call() -> int:
  """Of training with that configuration."""
  return rsna_ddad.get_config().steps_per_call


def read(compiled: jax.stages.Compiled) -> Counts:
  """What XLA says of a program."""
  costs, memory = compiled.cost_analysis(), compiled.memory_analysis()
  return Counts(
    costs["flops"],
    costs["bytes accessed"],
    memory.temp_size_in_bytes,
    memory.alias_size_in_bytes,
    collectives(compiled.as_text()),
  )


def collectives(text: str) -> dict[str, int]:
  """How many instructions of a program's text make devices wait for others.

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
