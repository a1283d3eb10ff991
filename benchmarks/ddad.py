"""DDAD-ASR, whole: this project's seconds beside PyTorch's.

  python -m benchmarks.ddad
  python -m benchmarks.ddad --whole --sides ours tuned
  python -m benchmarks.ddad --size=16 --normal=64 --unlabelled=64 --tests=16 \\
    --members=2 --batch=8 --steps=2 --images=16 --repeats=2 --no-compile

Three sides do the published protocol on the same generated images, RSNA's
counts unless set otherwise: `ours` (`benchmarks/jax_side.py`: the engine's own
programs), `reference` and `tuned` (`benchmarks/torch_ddad.py`: PyTorch as its
users run it, and as well as one can). Each lives in a process of its own
(`benchmarks/sides.py`) and they take turns, so that a busy machine is busy for
all. A turn measures a few steps of every phase; a phase's seconds are the
seconds a step times all its steps, and the first table says how many were
measured. A ratio to ours is formed in every turn, and given with its spread.
`--whole` takes every step instead.

Steps a second count every member's optimizer steps, images a second the images
that nets train on, or the test images. Peaks of memory are those of a process
that goes through the phases one after another; a data loader's worker process
is not counted.
"""

import argparse
from collections.abc import Mapping, Sequence
import importlib.util
import statistics
import sys

# None of these imports jax: the sides' processes import this file again, and
# PyTorch's would hold jax in their memory.
from benchmarks import protocol, sides, turns
from benchmarks.protocol import positive

SIDES = ("ours", "reference", "tuned")
# Units of a turn, by what the first side runs on.
_ON_CPU = {"steps": 8, "images": 128}
_ON_ACCELERATOR = {"steps": 200, "images": 2000}

# What, side, seconds of the turns, optimizer steps, images.
Row = tuple[str, str, list[float], int, int]


def main(argv: list[str] | None = None) -> int:
  """Races the sides and prints what they took."""
  parser = make_parser("ddad", __doc__, SIDES)
  published = protocol.Protocol()
  for name, what in {
    "normal": "normal training images",
    "unlabelled": "unlabelled training images",
    "tests": "test images",
    "size": "side of the images",
    "members": "of each ensemble, two or more",
    "batch": "images a step of the ensembles",
  }.items():
    value = getattr(published, name)
    add_number(parser, name, f"{what} [{value}]", value)
  add_number(parser, "images", "test images a turn and part [128 on a CPU]")
  add_number(parser, "test-batch", "of ours and tuned [64]", 64)
  args = parser.parse_args(argv)
  given = protocol.Protocol(
    args.normal,
    args.unlabelled,
    args.tests,
    args.size,
    args.members,
    args.batch,
    precision=args.precision,
  )
  targets = {
    "ours": ("benchmarks.jax_side:Ddad", (given, args.test_batch)),
    "reference": ("benchmarks.torch_ddad:Reference", (given, args.whole)),
    "tuned": (
      "benchmarks.torch_ddad:Tuned",
      (given, not args.no_compile, args.test_batch),
    ),
  }
  return race(parser, args, targets, given, protocol.PHASES)


def make_parser(
  name: str, description: str, names: Sequence[str]
) -> argparse.ArgumentParser:
  """The options of all races but their sizes."""
  parser = argparse.ArgumentParser(
    prog=f"python -m benchmarks.{name}",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add("--sides", nargs="+", choices=names, default=names, help="[all]")
  help_ = "steps a turn and part, rounded up to whole calls [8 on a CPU]"
  add_number(parser, "steps", help_)
  add_number(parser, "repeats", "turns [5; 1 with --whole]")
  add("--whole", action="store_true", help="every step, nothing extrapolated")
  add(
    "--precision",
    choices=protocol.PRECISIONS,
    default="float32",
    help="of ours and tuned [float32]",
  )
  add("--no-compile", action="store_true", help="no torch.compile in tuned")
  return parser


def add_number(
  parser: argparse.ArgumentParser,
  name: str,
  what: str,
  value: int | None = None,
) -> None:
  """Adds an option that is a whole number above 0."""
  parser.add_argument(f"--{name}", type=positive, default=value, help=what)


def race(
  parser: argparse.ArgumentParser,
  args: argparse.Namespace,
  targets: Mapping[str, sides.Target],
  given: protocol.Protocol,
  phases: Sequence[str],
) -> int:
  """Lets the sides take turns, prints all tables and returns a status.

  Args:
    parser: says what is wrong with the sizes.
    args: the command line's.
    targets: all sides, ours first.
    given: what they do.
    phases: of it.
  """
  # Ours is always there: the others are multiples of it.
  targets = {
    name: target
    for name, target in targets.items()
    if name in ("ours", *args.sides)
  }
  largest = max(given.batch, given.refine_batch)
  if given.normal < largest:
    parser.error(f"--normal={given.normal} is less than a batch of {largest}")
  if len(targets) > 1 and importlib.util.find_spec("torch") is None:
    parser.error(
      'PyTorch is not installed: run pip install -e ".[benchmarks]", or give'
      " --sides ours"
    )
  # Not above, as it imports jax.
  from medad_jax.types import UserError

  repeats = args.repeats or (1 if args.whole else 5)
  try:
    with sides.racing(targets) as racers:
      lines = dict.fromkeys(racer.about for racer in racers)
      notes = [note for racer in racers for note in racer.notes]
      print(*lines, *notes, given.describe(phases), sep="\n", flush=True)
      amounts = None if args.whole else _amounts(args, racers[0].backend)
      times = sides.take_turns(racers, amounts, repeats)
  except UserError as error:  # sizes that the method refuses
    parser.error(str(error))
  _print_measured(times, repeats)
  _print_seconds(
    _start_rows(racers)
    + _phase_rows(racers, times, given, phases)
    + _total_rows(racers, times, phases)
  )
  _print_memory(racers)
  return 0


def _amounts(args: argparse.Namespace, backend: str) -> dict[str, int]:
  """Units of a turn, by their name."""
  usual = _ON_CPU if backend == "cpu" else _ON_ACCELERATOR
  # Not every race has tests, and with them a number of images.
  given = {name: vars(args).get(name) for name in usual}
  return {name: given[name] or usual[name] for name in usual} | {"starts": 1}


def _print_measured(times: sides.Times, repeats: int) -> None:
  """Prints the share of each part that was measured, and a unit's time."""
  rows = []
  for name, parts in times.units.items():
    for part, units in parts.items():
      each = 1e3 * statistics.median(times.seconds[name][part])
      turn = units // repeats
      share = f"{100 * turn / part.whole:.2f}"
      of_all = f"{part.whole:,} {part.unit}"
      row = (name, part.phase, part.name, turn, of_all, share, f"{each:.2f}")
      rows.append(row)
  header = (f"{repeats} turns", "phase", "part", "a turn", "of all", "share, %")
  print(f"\n{turns.table((*header, 'ms each'), rows)}")


def _print_seconds(rows: Sequence[Row]) -> None:
  """Prints seconds and rates of every row, with ratios to the row of ours."""
  ours = {what: seconds for what, name, seconds, *_ in rows if name == "ours"}
  lines = []
  for what, name, seconds, *counts in rows:
    median = statistics.median(seconds)
    rates = [f"{count / median:,.1f}" if count else "" for count in counts]
    ratio = "" if name == "ours" else turns.ratio(seconds, ours[what])
    lines.append((what, name, f"{median:,.1f}", *rates, ratio))
  header = ("phase", "side", "seconds", "steps/s", "images/s", "times ours")
  print(f"\n{turns.table(header, lines)}")


def _print_memory(racers: Sequence[sides.Racer]) -> None:
  """Prints the peaks of every side."""
  rows = []
  for racer in racers:
    peaks = [racer.memory[kind] for kind in ("host", "device")]
    known = ["not known" if p is None else f"{p / 1e9:.2f}" for p in peaks]
    rows.append((racer.name, *known))
  print(f"\n{turns.table(('peak memory, GB', 'host', 'device'), rows)}")


def _start_rows(racers: Sequence[sides.Racer]) -> list[Row]:
  """Seconds of both starts; each was made once."""
  return [
    (what, racer.name, [racer.seconds[what]], 0, 0)
    for what in racers[0].seconds
    for racer in racers
  ]


def _phase_rows(racers, times, given, phases) -> list[Row]:
  return [
    (
      phase,
      racer.name,
      times.of_phase(racer.name, phase),
      given.steps(phase),
      given.images(phase),
    )
    for phase in phases
    for racer in racers
  ]


def _total_rows(racers, times, phases) -> list[Row]:
  """All phases, and the start with empty or full caches."""
  rows = []
  for cache in ("cold", "warm"):
    for racer in racers:
      taken = [times.of_phase(racer.name, p) for p in phases]
      start = racer.seconds[f"start-up, {cache} cache"]
      total = [start + sum(turn) for turn in zip(*taken, strict=True)]
      rows.append((f"all, {cache} cache", racer.name, total, 0, 0))
  return rows


if __name__ == "__main__":
  sys.exit(main())
