"""Growth of a training step with members and devices.

  python -m benchmarks.scaling
  python -m benchmarks.scaling --axes members --time

One table an axis: DDAD-ASR's ensembles as configs/rsna_ddad.py describes them
(6 members, batches of 64, images of 64x64) with that axis alone changed. Counts
are of one step on one device, by XLA for the host's CPU: the same on every
machine, and nothing is run for them. (Compilers for accelerators hand products
to libraries, whose operations XLA does not count.) Devices are simulated.

`--time` adds seconds, of calls of several steps that take turns; an image that
two members see counts twice in images a second. On an accelerator there is the
memory of temporaries, too.
"""

import argparse
from collections.abc import Callable, Mapping
import dataclasses
import functools
import re
import statistics
import sys
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import jax_side, protocol, turns
from benchmarks.jax_side import TRIALS
from configs import rsna_ddad
from medad_jax.data import index, resident
from medad_jax.engine import cli, members, program
from medad_jax.engine import config as configuration
from medad_jax.engine.devices import Devices
from medad_jax.methods import ddad
from medad_jax.types import NORMAL, Phase, UserError

AXES = {"members": (1, 2, 4, 6, 8, 16, 32), "devices": (1, 2, 4, 8)}
BASE = {"members": 6, "devices": 1}
COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "collective-permute",
  "all-to-all",
  "reduce-scatter",
)
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
    before = {stage.name: stage for stage in self.before}
    reads = {
      name: members.of_stage(before[name], TRIALS) for name in self.phase.reads
    }
    # One black pixel, seen everywhere: counting must not need the images.
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
    # A finished stage has no optimizer.
    earlier = {n: dataclasses.replace(s, opt={}) for n, s in found.items()}
    return self.engine.trace(states, earlier).lower().compile()

  def on_host(self) -> "Program":
    """The program for as many of the host's devices, if it is not."""
    if not self.devices or self.devices[0].platform == "cpu":
      return self
    return dataclasses.replace(self, devices=host(len(self.devices)))

  def start(self) -> Callable[[int], Any]:
    """A function that takes the steps, each time from where it came to.

    It is there for phases that read no other. Its argument is not used.
    """
    images = protocol.generate(_IMAGES, self.side, seed=0)[..., None]
    loop = jax_side.Loop(
      self.phase,
      members.init_states(self.phase, TRIALS, self._shape),
      resident.Resident(images),
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


def main(argv: list[str] | None = None) -> int:
  """Prints the tables of all axes."""
  args = _parse(argv)
  if "devices" in args.axes and not args.time:
    jax.config.update("jax_num_cpu_devices", max(args.devices))
  with cli.sentences():
    for axis in args.axes:
      # Simulated devices share the host's cores, so only real ones are timed.
      timed = args.time and axis == "devices"
      most = jax.device_count() if timed else float("inf")
      values = [value for value in getattr(args, axis) if value <= most]
      found = {
        value: _program(**BASE | {axis: value}, args=args) for value in values
      }
      print_counts(axis, found)
      if args.time:
        print_times(axis, found, args.repeats)
  return 0


def print_counts(axis: str, found: Mapping[int, Program]) -> None:
  """Prints counts of one step on one device, and flops against the first."""
  all_counts = {
    value: read(program.on_host().compiled) for value, program in found.items()
  }
  first = next(iter(all_counts.values()))
  rows = [
    (
      value,
      "x".join(map(str, found[value].engine.layout.mesh.devices.shape)),
      f"{counts.flops / 1e9:.3f}",
      f"{counts.flops / first.flops:.3f}",
      f"{counts.bytes / 1e6:.1f}",
      f"{counts.temporaries / 1e6:.1f}",
      *counts.collectives.values(),
    )
    for value, counts in all_counts.items()
  ]
  header = ("mesh", "GFLOP", "of first", "MB accessed", "MB temporary")
  table = turns.table((axis, *header, *COLLECTIVES), rows)
  print(f"\n{axis}: a step, on one device\n{table}", flush=True)


def print_times(axis: str, found: Mapping[int, Program], repeats: int) -> None:
  """Prints times of all sizes by turns, and as multiples of the first one."""
  sides = {value: program.start() for value, program in found.items()}
  times = turns.alternate(sides, repeats)
  first = next(iter(times.values()))
  rows = []
  for value, taken in times.items():
    program, phase = found[value], found[value].phase
    rate = program.steps / statistics.median(taken)
    rows.append(
      (
        value,
        f"{1e3 / rate:.2f}",
        f"{rate * phase.members * phase.length.batch_size:.0f}",
        turns.ratio(taken, first),
        _temporary(program),
      )
    )
  header = (axis, "ms a step", "images/s", "times the first", "MB temporary")
  print(f"\n{axis}: seconds on {turns.machine()}")
  print(turns.table(header, rows), flush=True)


def _temporary(program: Program) -> str:
  """MB on an accelerator; the host's stand in the table of counts."""
  if program.devices[0].platform == "cpu":
    return "above"
  return f"{read(program.compiled).temporaries / 1e6:.1f}"


def _program(members: int, devices: int, args: argparse.Namespace) -> Program:
  """The ensembles of so many members on so many devices."""
  config = rsna_ddad.get_config()
  config.model.precision = args.precision
  phase = configuration.build_method(config.to_dict()).phases()[0]
  unknown = -(-members // 2)  # the larger half is UDM
  mixed, normal = phase.pools[0], phase.pools[-1]
  pools = (mixed,) * unknown + (normal,) * (members - unknown)
  real = tuple(jax.devices()[:devices])
  return Program(
    dataclasses.replace(phase, pools=pools),
    config.data.image_size,
    args.steps,
    devices=real if len(real) == devices else host(devices),
  )


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0]
  )
  add, kind = parser.add_argument, protocol.positive
  add("--axes", nargs="+", choices=AXES, default=list(AXES), help="[all]")
  for axis, values in AXES.items():
    sizes = " ".join(map(str, values))
    add(f"--{axis}", type=kind, nargs="+", default=values, help=f"[{sizes}]")
  add(
    "--precision",
    choices=protocol.PRECISIONS,
    default="float32",
    help="of the nets [float32]",
  )
  add("--time", action="store_true", help="seconds, too")
  steps = rsna_ddad.get_config().steps_per_call
  for name, value in {"steps": steps, "repeats": 5}.items():
    add(f"--{name}", type=kind, default=value, help=f"[{value}]")
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
