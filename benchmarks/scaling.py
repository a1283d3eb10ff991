"""Growth of a training step with members, batch, image and devices.

  python -m benchmarks.scaling
  python -m benchmarks.scaling --axes=members --time

One table an axis: DDAD-ASR's ensembles as configs/rsna_ddad.py describes them
(6 members, batches of 64, images of 64x64) with that axis alone changed. Counts
are of one step on one device, by XLA for the host's CPU: the same on every
machine, and nothing is run for them. Devices are simulated, in a process of
their own.

`--time` adds seconds, of calls of several steps that take turns; an image that
two members see counts twice in images a second. On an accelerator there is the
memory of temporaries, too. Simulated devices share the host's cores and are not
timed; where there are several accelerators, these are.
"""

import argparse
from collections.abc import Mapping, Sequence
import os
import statistics
import subprocess
import sys

import jax

from benchmarks import programs, turns
from medad_jax.types import UserError

AXES = {
  "members": (1, 2, 4, 6, 8, 16, 32),
  "batch": (16, 64, 256, 1024),
  "image": (64, 128, 256),
  "devices": (1, 2, 4, 8),
}
BASE = {"members": 6, "batch": 64, "image": 64}


def main(argv: list[str] | None = None) -> int:
  """Prints the tables of all axes."""
  args = _parse(argv)
  try:
    for axis in args.axes:
      table = devices if axis == "devices" else one_device
      table(axis, args)
  except UserError as error:
    print(f"benchmarks.scaling: {error}", file=sys.stderr)
    return 2
  return 0


def one_device(axis: str, args: argparse.Namespace) -> None:
  """Prints the tables of members, batch or image."""
  here = jax.devices()[:1]
  found = {
    value: _program(args, here, **{axis: value})
    for value in getattr(args, axis)
  }
  print_counts(axis, found)
  if args.time:
    print_times(axis, found, args.repeats)


def devices(axis: str, args: argparse.Namespace) -> None:
  """Prints the table of simulated devices, and one of several real ones."""
  try:
    hosts = programs.host(max(args.devices))
  except UserError:  # a process has those that it was started with
    _simulate(args)
  else:
    found = {n: _program(args, hosts[:n]) for n in args.devices}
    print_counts(axis, found)
  real = jax.devices()
  if args.time and real[0].platform != "cpu" and len(real) > 1:
    there = [n for n in args.devices if n <= len(real)]
    print_times(
      axis, {n: _program(args, real[:n]) for n in there}, args.repeats
    )


def print_counts(axis: str, found: Mapping[int, programs.Program]) -> None:
  """Prints counts of one step on one device, and flops against the first."""
  rows = []
  first = None
  for value, program in found.items():
    counts = programs.read(program.on_host().compiled)
    first = first or counts.flops
    rows.append(
      (
        value,
        "x".join(map(str, program.layout.mesh.devices.shape)),
        f"{counts.flops / 1e9:.3f}",
        f"{counts.flops / first:.3f}",
        f"{counts.bytes / 1e6:.1f}",
        f"{counts.temporaries / 1e6:.1f}",
        *counts.collectives.values(),
      )
    )
  header = (
    axis,
    "mesh",
    "GFLOP",
    "of first",
    "MB accessed",
    "MB temporary",
    *programs.COLLECTIVES,
  )
  _print(f"{axis}: a step, on one device", header, rows)


def print_times(
  axis: str, found: Mapping[int, programs.Program], repeats: int
) -> None:
  """Prints times of all sizes by turns, and as multiples of the first one."""
  sides = {str(value): program.start() for value, program in found.items()}
  times = turns.alternate(sides, repeats)
  first = times[str(next(iter(found)))]
  rows = []
  for value, program in found.items():
    taken = times[str(value)]
    rate = program.steps / statistics.median(taken)
    phase = program.phase
    images = rate * phase.members * phase.length.batch_size
    rows.append(
      (
        value,
        f"{1e3 / rate:.2f}",
        f"{rate:.2f}",
        f"{images:.0f}",
        turns.ratio(taken, first),
        _temporary(program),
      )
    )
  header = (
    axis,
    "ms a step",
    "steps/s",
    "images/s",
    "times the first",
    "MB temporary",
  )
  _print(f"{axis}: seconds on {turns.machine()}", header, rows)


def _temporary(program: programs.Program) -> str:
  """MB on an accelerator; the host's stand in the table of counts."""
  if program.layout.mesh.devices.flat[0].platform == "cpu":
    return "above"
  return f"{programs.read(program.compiled).temporaries / 1e6:.1f}"


def _program(
  args: argparse.Namespace, where: Sequence[jax.Device], **size: int
) -> programs.Program:
  """The ensembles with one size that is not the base's."""
  base = {name: getattr(args, f"base_{name}") for name in BASE} | size
  return programs.Program(
    programs.ensemble(base["members"], base["batch"], args.precision),
    base["image"],
    args.steps,
    devices=tuple(where),
  )


def _simulate(args: argparse.Namespace) -> None:
  """Prints the axis of devices from a process that has them."""
  count = max(args.devices)
  flags = os.environ.get("XLA_FLAGS", "")
  flags = f"{flags} --xla_force_host_platform_device_count={count}"
  command = [sys.executable, "-m", "benchmarks.scaling", "--axes", "devices"]
  command += ["--devices", *map(str, args.devices)]
  command += ["--precision", args.precision]
  for name in BASE:
    command += [f"--base-{name}", str(getattr(args, f"base_{name}"))]
  sys.stdout.flush()
  environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
  if subprocess.run(command, env=environment).returncode:
    raise UserError(
      "the process of simulated devices failed; what it says stands above"
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
  for axis, values in AXES.items():
    given = " ".join(map(str, values))
    parser.add_argument(
      f"--{axis}",
      nargs="+",
      type=programs.positive,
      default=values,
      help=f"[{given}]",
    )
  for name, value in BASE.items():
    parser.add_argument(
      f"--base-{name}",
      type=programs.positive,
      default=value,
      help=f"of the other axes [{value}]",
    )
  parser.add_argument(
    "--precision",
    choices=programs.PRECISIONS,
    default="float32",
    help="of the nets [float32]",
  )
  parser.add_argument("--time", action="store_true", help="seconds, too")
  steps = programs.steps_per_call()
  parser.add_argument(
    "--steps",
    type=programs.positive,
    default=steps,
    help=f"a timed call [{steps}]",
  )
  parser.add_argument(
    "--repeats", type=programs.positive, default=5, help="turns [5]"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
