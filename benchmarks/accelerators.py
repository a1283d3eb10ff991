"""Counts of the engine's programs, compiled for accelerators without one.

  python -m benchmarks.accelerators
  python -m benchmarks.accelerators --target=v5e-8 --programs ddad ra
  python -m benchmarks.accelerators --programs ddad --kernels

These are counts, not times: what XLA would start, read and write, read from the
compiled program's text (`kernels.py`). Three floors stand beside them: bytes
over the bandwidth of the device's memory, operations over its peak, and kernels
times the least that one takes. A step takes at least the largest of the first
two, and rarely less than their sum with the third. "Times the least" is the
bytes over those that must move whatever a compiler does (`least.py`).
"""

import argparse
from collections.abc import Callable, Iterator
import dataclasses
import statistics
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import kernels, least, operations, programs, targets, turns
from medad_jax import shipped
from medad_jax.engine import batched, cli, scorer
from medad_jax.engine import config as configuration
from medad_jax.engine.devices import Devices
from medad_jax.types import Fit, Phase, Pretrained, TrainState

# By name: the file of configs/, its argument, and what differs from it.
RANDOM = {"model.weights": "random"}
METHODS: dict[str, tuple[str, str, dict[str, Any]]] = {
  "ddad": ("rsna_ddad", "ae", {}),
  "ae": ("reconstruction", "rsna/ae", {}),
  "dae": ("reconstruction", "rsna/dae", {}),
  "nsa": ("ssl", "rsna/nsa", {}),
  "cutpaste-2s": ("ssl", "rsna/cutpaste-2s", {}),
  "ra": ("ra", "ixi", RANDOM),
  "dpa": ("dpa", "cifar10/wo_pg/0", RANDOM),
  "piad": ("piad", "cifar10/reproduce/0", RANDOM),
  "fanogan": ("fanogan", "rsna", {}),
  "features": ("features", "rsna", RANDOM),
}
HEADER = (
  "program",
  "kernels",
  *kernels.KINDS,
  "of libraries",
  "all-reduces",
  "other collectives",
  "MB of both",
  *(f"GFLOP {name}" for name in operations.PRECISIONS),
  "MB accessed",
  "times the least",
  "MB temporary",
  "MB aliased",
  "us of memory",
  "us of operations",
  "us of starts",
)
TIMED = ("us taken", "times the larger")


class Job(NamedTuple):
  """A program to count.

  Attributes:
    name: of the method, and of what it does.
    traced: the program, for shapes.
    least: bytes of what it reads and writes, without activations.
    devices: that share it.
    start: makes what is timed, where it takes steps; see `programs.Program`.
  """

  name: str
  traced: jax.stages.Traced
  least: int
  devices: int
  start: Callable[[], Callable[[int], Any]] | None = None


def jobs(
  name: str, devices: tuple[jax.Device, ...], precision: str | None = None
) -> Iterator[Job]:
  """A step of each phase of a method, its features, and its scores.

  Args:
    name: of `METHODS`.
    devices: to compile for.
    precision: of `config.model.precision`; None for what the method takes.
  """
  file, argument, changes = METHODS[name]
  config = shipped.module(f"configs.{file}").get_config(argument).to_dict()
  if precision and "precision" in config["model"]:
    changes = changes | {"model.precision": precision}
  config = configuration.with_hyper(config, changes)
  method, data = configuration.build_method(config), config["data"]
  shape = (data["image_size"], data["image_size"], data["channels"])
  states: dict[str, TrainState] = {}
  before: list[Phase | Pretrained] = []
  size = config["evaluation"]["batch_size"]
  for stage in method.phases():
    if isinstance(stage, Fit):
      # Its estimate is the host's, and there are no scores without it.
      own = {read: _one(states[read]) for read in stage.reads}
      yield _batched(
        f"{name} features", stage.features, size, own, shape, devices
      )
      return
    # Only a phase has steps, but every stage has states.
    program = programs.Program(stage, shape, 1, tuple(before), devices)
    states[stage.name] = dataclasses.replace(program.states[-1], opt={})
    if isinstance(stage, Phase):
      yield Job(
        f"{name} {stage.name}",
        program.traced,
        program.least,
        len(devices),
        program.start,
      )
    before.append(stage)
  function = scorer.score_function(method, 1)
  yield _batched(f"{name} scores", function, size, states, shape, devices)


def _one(states: TrainState) -> TrainState:
  """Shapes of one member's state."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states
  )


def _batched(name, function, size, states, shape, devices) -> Job:
  """A function of a batch of images, as the engine runs it."""
  found = batched.Batched(function, size, Devices(devices))
  arrays = {
    "id": jax.ShapeDtypeStruct((found.size,), np.int32),
    "image": jax.ShapeDtypeStruct((found.size, *shape), np.uint8),
  }
  traced = found.trace(_plain(states), arrays)
  moved = least.bytes_of((states, arrays["image"], traced.out_info))
  return Job(name, traced, moved, len(devices))


def _plain(states: Any) -> Any:
  """Shapes alone: where arrays lie is the program's to say."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), states)


def count(job: Job, target: targets.Target) -> tuple[tuple[str, ...], float]:
  """A program's line of the table, and the larger of its floors in seconds."""
  compiled = job.traced.lower().compile()
  found = kernels.count(compiled.as_text())
  memory = compiled.memory_analysis()
  started = sum(found.kinds.values())
  floors = (
    found.bytes / target.bandwidth,
    sum(n / target.peaks[name] for name, n in found.operations.items()),
    started * target.launch,
  )
  # An activation is written once and read once. Devices share the whole.
  moved = job.least + 2 * least.activations(job.traced.jaxpr.jaxpr)
  times = found.bytes * job.devices / moved
  line = (
    job.name,
    str(started),
    *(str(found.kinds[kind]) for kind in kernels.KINDS),
    str(found.library),
    str(found.collectives["all-reduce"]),
    str(sum(found.collectives.values()) - found.collectives["all-reduce"]),
    f"{found.moved / 1e6:.1f}",
    *(f"{found.operations[name] / 1e9:.2f}" for name in operations.PRECISIONS),
    f"{found.bytes / 1e6:.0f}",
    f"{times:.1f}",
    f"{memory.temp_size_in_bytes / 1e6:.0f}",
    f"{memory.alias_size_in_bytes / 1e6:.0f}",
    *(f"{1e6 * floor:.0f}" for floor in floors),
  )
  return line, max(floors[:2])


def print_kernels(job: Job) -> None:
  """Prints every kernel of a program: its kind, bytes, operations, origin."""
  print(f"\n{job.name}")
  for kernel in kernels.listed(job.traced.lower().compile().as_text()):
    flops = sum(kernel.operations.values())
    print(
      f"{kernel.times:3} {kernel.kind:13} {kernel.bytes / 1e6:9.2f} MB"
      f" {flops / 1e9:8.2f} GFLOP  {kernel.source or '-'}"
    )


def seconds(job: Job, turns_: int = 20) -> float | None:
  """The median of a step, timed; None for what takes no steps."""
  if job.start is None:
    return None
  call = job.start()
  call(0)  # compiles
  taken = []
  for turn in range(turns_):
    start = time.perf_counter()
    call(turn)
    taken.append(time.perf_counter() - start)
  return statistics.median(taken)


def main(argv: list[str] | None = None) -> int:
  """Prints the table of a target, a line as soon as it is there."""
  args = _parse(argv)
  target = targets.TARGETS[args.target]
  header = HEADER + TIMED if args.time else HEADER
  rows = []
  with cli.sentences():
    if args.time:
      devices = tuple(jax.devices())
      print(f"timed on {turns.machine()}, one step a call")
    else:
      devices = targets.devices(args.target)
      print(
        f"compiled for {args.target}, jax {jax.__version__}: counts of one"
        " device, not times"
      )
    for name in args.programs:
      for job in jobs(name, devices, args.precision):
        if args.kernels:
          print_kernels(job)
          continue
        line, floor = count(job, target)
        if args.time:
          taken = seconds(job)
          line += (
            ("", "")
            if taken is None
            else (f"{1e6 * taken:.0f}", f"{taken / floor:.1f}")
          )
        rows.append(line)
        print(", ".join(line), flush=True)
    if rows:
      print("\n" + turns.table(header, rows))
  return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.accelerators",
    description=__doc__.splitlines()[0],
  )
  add = parser.add_argument
  add("--target", choices=targets.TARGETS, default="h100", help="[h100]")
  names = list(METHODS)
  add("--programs", nargs="+", choices=names, default=names, help="[all]")
  add("--precision", help="of the nets [float32]")
  add("--kernels", action="store_true", help="lists them instead")
  add(
    "--time",
    action="store_true",
    help="on the devices that are there, with floors of the target",
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  if "--time" not in sys.argv:
    targets.start("benchmarks.accelerators")
  sys.exit(main())
