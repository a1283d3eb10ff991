"""Growth of a training step with members, devices, batches and images.

  python -m benchmarks.scaling
  python -m benchmarks.scaling --axes members --time
  python -m benchmarks.scaling --target=v5e-8 --axes members --members 32 256

One table an axis: DDAD-ASR's ensembles as configs/rsna_ddad.py describes them
(6 members, batches of 64, images of 64x64) with that axis alone changed. Counts
are of one step on one device, by XLA for the devices that are there: the host's
CPU is simulated as several. Nothing is run for them.

`--target` compiles for an accelerator that need not be there (`targets.py`) and
for all its devices: `devices` is no axis then.

`--time` adds seconds, of calls of several steps that take turns; an image that
two members see counts twice in images a second.
"""

import argparse
from collections.abc import Mapping
import dataclasses
import statistics
import sys

import jax

from benchmarks import protocol, targets, turns
from benchmarks.kernels import COLLECTIVES
from benchmarks.programs import Program, host, read
from configs import rsna_ddad
from medad_jax.engine import cli
from medad_jax.engine import config as configuration

AXES = {
  "members": (1, 2, 4, 6, 8, 16, 32),
  "devices": (1, 2, 4, 8),
  "batch": (64, 1024),
  "side": (64, 256),
}
BASE = {"members": 6, "devices": 1, "batch": 64, "side": 64}


def main(argv: list[str] | None = None) -> int:
  """Prints the tables of all axes."""
  args = _parse(argv)
  # Before JAX starts its host, which cannot be divided later.
  if "devices" in args.axes and not (args.time or args.target):
    jax.config.update("jax_num_cpu_devices", max(args.devices))
  with cli.sentences():
    for axis in args.axes:
      if args.target and axis == "devices":
        continue
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
    value: read(program.compiled) for value, program in found.items()
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
      f"{(counts.temporaries + counts.arguments) / 1e6:.1f}",
      *counts.collectives.values(),
      f"{counts.moved / 1e6:.1f}",
    )
    for value, counts in all_counts.items()
  ]
  header = (
    *(axis, "mesh", "GFLOP", "of first", "MB accessed", "MB temporary"),
    *("MB in all", *COLLECTIVES, "MB of these"),
  )
  table = turns.table(header, rows)
  print(f"\n{axis}: a step, on one device\n{table}", flush=True)


def print_times(axis: str, found: Mapping[int, Program], repeats: int) -> None:
  """Prints times of all sizes by turns, and as multiples of the first one."""
  # All are there at once, as they take turns.
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
      )
    )
  header = (axis, "ms a step", "images/s", "times the first")
  print(f"\n{axis}: seconds on {turns.machine()}")
  print(turns.table(header, rows), flush=True)


def _program(
  members: int, devices: int, batch: int, side: int, args: argparse.Namespace
) -> Program:
  """The ensembles of so many members on so many devices."""
  config = rsna_ddad.get_config()
  config.model.precision = args.precision
  config.train.batch_size = batch
  phase = configuration.build_method(config.to_dict()).phases()[0]
  unknown = -(-members // 2)  # the larger half is UDM
  mixed, normal = phase.pools[0], phase.pools[-1]
  pools = (mixed,) * unknown + (normal,) * (members - unknown)
  phase = dataclasses.replace(phase, pools=pools)
  if args.target:
    chosen = targets.devices(args.target)
  else:
    real = tuple(jax.devices()[:devices])
    chosen = real if len(real) == devices else host(devices)
  return Program(phase, (side, side, 1), args.steps, devices=chosen)


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
  add("--target", choices=targets.TARGETS, help="to compile for [the host]")
  add("--time", action="store_true", help="seconds, too")
  steps = rsna_ddad.get_config().steps_per_call
  for name, value in {"steps": steps, "repeats": 5}.items():
    add(f"--{name}", type=kind, default=value, help=f"[{value}]")
  return parser.parse_args(argv)


if __name__ == "__main__":
  if any(argument.startswith("--target") for argument in sys.argv):
    targets.start("benchmarks.scaling")
  sys.exit(main())
