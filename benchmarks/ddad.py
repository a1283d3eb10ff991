"""DDAD-ASR, whole: this project's seconds beside PyTorch's.

  python -m benchmarks.ddad --baseline=torch
  python -m benchmarks.ddad --baseline=torch --whole --sides ours tuned
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

# No module here imports jax before `main`: the sides' processes import this
# file again, and PyTorch's would hold jax in their memory.
from benchmarks import protocol, sides
from benchmarks.protocol import positive

SIDES = ("ours", "reference", "tuned")

# Units a turn, by what the first side runs on.
_STEPS = {"cpu": 8}
_IMAGES = {"cpu": 128}
_ON_ACCELERATOR = {"steps": 200, "images": 2000}

Row = tuple[str, str, list[float], int, int]


def main(argv: list[str] | None = None) -> int:
  """Races the sides and prints what they took."""
  args = _parse(argv)
  from medad_jax.types import UserError

  try:
    run(args)
  except UserError as error:
    print(f"benchmarks.ddad: {error}", file=sys.stderr)
    return 2
  return 0


def run(args: argparse.Namespace) -> None:
  """Everything between the command line and the tables.

  Raises:
    UserError: PyTorch is wanted and not there, or the sizes are impossible.
  """
  given = _protocol(args)
  names = ("ours",) if args.baseline == "none" else _with_ours(args.sides)
  race(_targets(names, given, args), given, protocol.PHASES, args)


def race(
  targets: Mapping[str, sides.Target],
  given: protocol.Protocol,
  phases: Sequence[str],
  args: argparse.Namespace,
) -> None:
  """Lets the sides take turns and prints all tables.

  Args:
    targets: the sides.
    given: what they do.
    phases: of it.
    args: of `add_turns`.

  Raises:
    UserError: PyTorch is wanted and not there, or the sizes are impossible.
  """
  _check(given, len(targets) > 1)
  repeats = args.repeats or (1 if args.whole else 5)
  with sides.racing(targets) as racers:
    lines = dict.fromkeys(racer.about for racer in racers)
    notes = [note for racer in racers for note in racer.notes]
    print(*lines, *notes, given.describe(phases), sep="\n", flush=True)
    amounts = None if args.whole else _amounts(args, racers[0].backend)
    times = sides.take_turns(racers, amounts, repeats)
  _print_measured(times, repeats)
  rows = _start_rows(racers) + _phase_rows(racers, times, given, phases)
  _print_table(rows, _total_rows(racers, times, phases))
  _print_memory(racers)


def _check(given: protocol.Protocol, torch: bool) -> None:
  from medad_jax.types import UserError

  if torch and importlib.util.find_spec("torch") is None:
    raise UserError(
      "the baseline is PyTorch, which is not installed: run pip install -e"
      ' ".[benchmarks]", or give --baseline=none'
    )
  if given.normal < max(given.batch, given.refine_batch):
    raise UserError(
      f"--normal={given.normal} is less than a batch of"
      f" {max(given.batch, given.refine_batch)}: give more images, or a smaller"
      " --batch"
    )


def _print_measured(times: sides.Times, repeats: int) -> None:
  """Prints the share of each part that was measured, and a unit's time."""
  print(
    f"\nmeasured in {repeats} turns      part              a turn        of all"
    "   share, %    ms each"
  )
  for name, parts in times.units.items():
    for part, units in parts.items():
      each = 1e3 * statistics.median(times.seconds[name][part])
      turn = units // repeats
      print(
        f"{name:10} {part.phase:12} {part.name:16} {turn:9,} {part.whole:11,}"
        f" {part.unit:6} {100 * turn / part.whole:6.2f} {each:10.2f}"
      )


def _print_table(*groups: Sequence[Row]) -> None:
  """Seconds and rates of every row, with ratios to the row of ours."""
  print(
    "\nphase                    side          seconds    steps/s   images/s"
    "   times ours"
  )
  for rows in groups:
    ours = {what: seconds for what, name, seconds, *_ in rows if name == "ours"}
    for what, name, seconds, steps, images in rows:
      median = statistics.median(seconds)
      ratio = "" if name == "ours" else _ratio(seconds, ours[what])
      print(
        f"{what:24} {name:10} {median:10,.1f} {_rate(steps, median)}"
        f" {_rate(images, median)}   {ratio}".rstrip()
      )


def _print_memory(racers: Sequence[sides.Racer]) -> None:
  """Peaks of every side."""
  print("\npeak memory, GB   host       device")
  for racer in racers:
    host, device = (
      "not had"
      if racer.memory[kind] is None
      else f"{racer.memory[kind] / 1e9:.2f}"
      for kind in ("host", "device")
    )
    print(f"{racer.name:12} {host:>9} {device:>12}")


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


def _ratio(seconds: list[float], ours: list[float]) -> str:
  """With its spread, where there is more than one turn."""
  from benchmarks import turns

  found = turns.ratio(seconds, ours)
  return str(found) if len(seconds) > 1 else f"{found.median:.2f}"


def _rate(count: int, seconds: float) -> str:
  return f"{count / seconds:10,.1f}" if count else " " * 10


def _targets(names, given, args):
  settings = {
    "ours": ("benchmarks.jax_side:Ddad", (given, args.test_batch)),
    "reference": ("benchmarks.torch_ddad:Reference", (given, args.whole)),
    "tuned": (
      "benchmarks.torch_ddad:Tuned",
      (given, not args.no_compile, args.test_batch),
    ),
  }
  return {name: settings[name] for name in names}


def _amounts(args: argparse.Namespace, kind: str) -> dict[str, int]:
  """Units of a turn, by their name."""
  steps = args.steps or _STEPS.get(kind, _ON_ACCELERATOR["steps"])
  given = vars(args).get("images")  # not every race has tests
  images = given or _IMAGES.get(kind, _ON_ACCELERATOR["images"])
  return {"steps": steps, "images": images, "starts": 1}


def _with_ours(names: Sequence[str]) -> tuple[str, ...]:
  return tuple(name for name in SIDES if name == "ours" or name in names)


def _protocol(args: argparse.Namespace) -> protocol.Protocol:
  return protocol.Protocol(
    args.normal,
    args.unlabelled,
    args.tests,
    args.size,
    args.members,
    args.batch,
    precision=args.precision,
  )


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.ddad",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "--baseline", choices=("torch", "none"), default="torch", help="[torch]"
  )
  parser.add_argument(
    "--sides",
    nargs="+",
    choices=SIDES,
    default=SIDES,
    help="[all]; ours always",
  )
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
    parser.add_argument(
      f"--{name}", type=positive, default=value, help=f"{what} [{value}]"
    )
  add_turns(parser)
  parser.add_argument(
    "--images",
    type=positive,
    help="test images a turn and part"
    f" [{_IMAGES['cpu']} on a CPU, else {_ON_ACCELERATOR['images']}]",
  )
  parser.add_argument(
    "--test-batch", type=positive, default=64, help="of ours and tuned [64]"
  )
  return parser.parse_args(argv)


def add_turns(parser: argparse.ArgumentParser) -> None:
  """The options of all races but their sizes."""
  parser.add_argument(
    "--steps",
    type=positive,
    help="steps a turn and part, rounded up to whole calls"
    f" [{_STEPS['cpu']} on a CPU, else {_ON_ACCELERATOR['steps']}]",
  )
  parser.add_argument(
    "--repeats", type=positive, help="turns [5; 1 with --whole]"
  )
  parser.add_argument(
    "--whole", action="store_true", help="take every step, extrapolate nothing"
  )
  parser.add_argument(
    "--precision",
    choices=("float32", "bfloat16"),
    default="float32",
    help="of ours and tuned [float32]",
  )
  parser.add_argument(
    "--no-compile", action="store_true", help="no torch.compile in tuned"
  )


if __name__ == "__main__":
  sys.exit(main())
