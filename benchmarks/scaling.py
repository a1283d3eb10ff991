"""How a training step grows with members, batch, image and devices.

  python -m benchmarks.scaling
  python -m benchmarks.scaling --axes members image --time

One table an axis: DDAD-ASR's ensembles as configs/rsna_ddad.py describes them
(6 members, batches of 64, images of 64x64) with that axis alone changed. Counts
are of one step on one device, by XLA for the host's CPU: the same on every
machine, and nothing is run for them. Devices are simulated.

`--time` adds seconds, of calls of several steps that take turns; an image that
two members see counts twice in images a second. On an accelerator there is the
memory of temporaries, too. Simulated devices share the host's cores: with
`--time` there are only real ones.
"""

import argparse
from collections.abc import Mapping, Sequence
import statistics
import sys

import jax

from benchmarks import programs, turns
from benchmarks.protocol import positive
from medad_jax.types import UserError

AXES = {
  "members": (1, 2, 4, 6, 8, 16, 32),
  "batch": (16, 64, 256, 1024),
  "image": (64, 128, 256),
  "devices": (1, 2, 4, 8),
}
BASE = {"members": 6, "batch": 64, "image": 64, "devices": 1}


def main(argv: list[str] | None = None) -> int:
  """Prints the tables of all axes."""
  args = _parse(argv)
  if "devices" in args.axes and not args.time:
    jax.config.update("jax_num_cpu_devices", max(args.devices))
  try:
    for axis in args.axes:
      found = {
        value: _program(args, axis, value) for value in _values(args, axis)
      }
      print_counts(axis, found)
      if args.time:
        print_times(axis, found, args.repeats)
  except UserError as error:
    print(f"benchmarks.scaling: {error}", file=sys.stderr)
    return 2
  return 0


def print_counts(axis: str, found: Mapping[int, programs.Program]) -> None:
  """Of one step on one device; flops also as a share of the first line's."""
  rows = []
  first = None
  for value, program in found.items():
    counts = programs.read(program.on_host().compiled)
    first = first or counts.flops
    rows.append(
      (
        value,
        "x".join(map(str, program.engine.layout.mesh.devices.shape)),
        f"{counts.flops / 1e9:.3f}",
        f"{counts.flops / first:.3f}",
        f"{counts.bytes / 1e6:.1f}",
        f"{counts.temporaries / 1e6:.1f}",
        *counts.collectives.values(),
      )
    )
  header = ("mesh", "GFLOP", "of first", "MB accessed", "MB temporary")
  header = (axis, *header, *programs.COLLECTIVES)
  _print(f"{axis}: a step, on one device", header, rows)


def print_times(
  axis: str, found: Mapping[int, programs.Program], repeats: int
) -> None:
  """Of all sizes by turns; each also as a multiple of the first one."""
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
        f"{rate:.2f}",
        f"{rate * phase.members * phase.length.batch_size:.0f}",
        turns.ratio(taken, first),
        _temporary(program),
      )
    )
  header = ("ms a step", "steps/s", "images/s", "times the first")
  header = (axis, *header, "MB temporary")
  _print(f"{axis}: seconds on {turns.machine()}", header, rows)


def _temporary(program: programs.Program) -> str:
  """MB on an accelerator; the host's stand in the table of counts."""
  if program.devices[0].platform == "cpu":
    return "above"
  return f"{programs.read(program.compiled).temporaries / 1e6:.1f}"


def _values(args: argparse.Namespace, axis: str) -> Sequence[int]:
  """The axis's sizes; of devices those that are there to be timed."""
  there = jax.device_count() if args.time and axis == "devices" else None
  return [n for n in getattr(args, axis) if there is None or n <= there]


def _program(
  args: argparse.Namespace, axis: str, value: int
) -> programs.Program:
  """The ensembles with one size that is not the base's."""
  size = {name: getattr(args, f"base_{name}", 1) for name in BASE}
  size[axis] = value
  count = size["devices"]
  real = tuple(jax.devices()[:count])
  return programs.Program(
    programs.ensemble(size["members"], size["batch"], args.precision),
    size["image"],
    args.steps,
    devices=real if len(real) == count else programs.host(count),
  )


def _print(
  title: str, header: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
  print(f"\n{title}\n{programs.table(header, rows)}", flush=True)


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0]
  )
  parser.add_argument(
    "--axes", nargs="+", choices=AXES, default=list(AXES), help="[all]"
  )

  def number(name: str, value, what: str = "", **options) -> None:
    given = " ".join(map(str, value)) if "nargs" in options else value
    parser.add_argument(
      name, type=positive, default=value, help=f"{what}[{given}]", **options
    )

  for axis, values in AXES.items():
    number(f"--{axis}", values, nargs="+")
  for name in ("members", "batch", "image"):
    number(f"--base-{name}", BASE[name], "of the other axes ")
  parser.add_argument(
    "--precision",
    choices=programs.PRECISIONS,
    default="float32",
    help="of the nets [float32]",
  )
  parser.add_argument("--time", action="store_true", help="seconds, too")
  number("--steps", programs.steps_per_call(), "a timed call ")
  number("--repeats", 5, "turns ")
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
