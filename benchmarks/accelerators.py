"""Counts of the engine's programs, compiled for accelerators without one.

  python -m benchmarks.accelerators
  python -m benchmarks.accelerators --target=v5e-8 --programs ensembles ra

These are counts, not times: what XLA would start, read and write. Three floors
stand beside them: bytes over the bandwidth of the device's memory, operations
over its peak, and kernels times the least that one takes. A step takes at least
the largest of the first two, and rarely less than their sum with the third.
"""

import argparse
from collections.abc import Callable, Iterator
import dataclasses
import math
import os
import statistics
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import kernels, programs, targets, turns
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
KINDS = ("loops", "reductions", "products", "convolutions", "copies", "others")
HEADER = (
  "program",
  "kernels",
  *KINDS,
  "collectives",
  "GFLOP",
  "MB accessed",
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
    precision: of its products, by the method's field.
    start: makes what is timed, where it takes steps; see `programs.Program`.
  """

  name: str
  traced: jax.stages.Traced
  precision: str
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
  taken = config["model"].get("precision", "float32")
  states: dict[str, TrainState] = {}
  before: list[Phase | Pretrained] = []
  size = config["evaluation"]["batch_size"]
  for stage in method.phases():
    if isinstance(stage, Fit):
      # Its estimate is the host's, and there are no scores without it.
      own = {read: _one(states[read]) for read in stage.reads}
      found = _batched(stage.features, size, own, shape, devices)
      yield Job(f"{name} features", found, taken)
      return
    # Only a phase has steps, but every stage has states.
    program = programs.Program(stage, shape, 1, tuple(before), devices)
    states[stage.name] = dataclasses.replace(program.states[-1], opt={})
    if isinstance(stage, Phase):
      yield Job(f"{name} {stage.name}", program.traced, taken, program.start)
    before.append(stage)
  function = scorer.score_function(method, 1)
  found = _batched(function, size, states, shape, devices)
  yield Job(f"{name} scores", found, taken)


def _one(states: TrainState) -> TrainState:
  """Shapes of one member's state."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states
  )


def _batched(function, size, states, shape, devices) -> jax.stages.Traced:
  """A function of a batch of images, as the engine runs it."""
  found = batched.Batched(function, size, Devices(devices))
  arrays = {
    "id": jax.ShapeDtypeStruct((found.size,), np.int32),
    "image": jax.ShapeDtypeStruct((found.size, *shape), np.uint8),
  }
  return found.trace(_plain(states), arrays)


def _plain(states: Any) -> Any:
  """Shapes alone: where arrays lie is the program's to say."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), states)


def count(job: Job, target: targets.Target) -> tuple[tuple[str, ...], float]:
  """A program's line of the table, and the larger of its floors in seconds."""
  lowered = job.traced.lower()
  compiled = lowered.compile()
  found = kernels.count(compiled.as_text())
  memory = compiled.memory_analysis()
  # Operations are counted before products are handed to a library, whose
  # kernels XLA cannot look into. The program is that of one device.
  # Some versions of JAX count nothing without a device.
  flops = (lowered.cost_analysis() or {}).get("flops", math.nan)
  read = (compiled.cost_analysis() or {}).get("bytes accessed", math.nan)
  started = sum(found.values())
  floors = (
    read / target.bandwidth,
    flops / target.peaks[job.precision],
    started * target.launch,
  )
  line = (
    job.name,
    str(started),
    *(str(found[kind]) for kind in KINDS),
    str(sum(found[kind] for kind in kernels.COLLECTIVES)),
    f"{flops / 1e9:.2f}",
    f"{read / 1e6:.0f}",
    f"{memory.temp_size_in_bytes / 1e6:.0f}",
    f"{memory.alias_size_in_bytes / 1e6:.0f}",
    *(f"{1e6 * floor:.0f}" for floor in floors),
  )
  return line, max(floors[:2])


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
      print(f"compiled for {args.target}: counts of one device, no times")
    for name in args.programs:
      for job in jobs(name, devices, args.precision):
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
  add(
    "--time",
    action="store_true",
    help="on the devices that are there, with floors of the target",
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  # JAX reads them when it starts, which it did before this line.
  ready = all(name in os.environ for name in targets.ENVIRONMENT)
  if not ready and "--time" not in sys.argv:
    environment = targets.ENVIRONMENT | os.environ
    command = [sys.executable, "-m", "benchmarks.accelerators", *sys.argv[1:]]
    os.execve(sys.executable, command, environment)
  sys.exit(main())
