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
from collections.abc import Sequence
import importlib.util
import statistics
import sys

# No module here imports jax before `main`: the sides' processes import this
# file again, and PyTorch's would hold jax in their memory.
from benchmarks import protocol, sides

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
  if len(names) > 1:
    need_torch()
  repeats = args.repeats or (1 if args.whole else 5)
  with sides.racing(_targets(names, given, args)) as racers:
    for line in heading(racers):
      print(line)
    print(_describe(given), flush=True)
    kind = racers[0].backend
    amounts = None if args.whole else _amounts(args, kind)
    times = sides.take_turns(racers, amounts, repeats)
  print_measured(times, repeats)
  rows = start_rows(racers) + _phase_rows(racers, times, given)
  print_table(rows, _total_rows(racers, times))
  print_memory(racers)


def need_torch() -> None:
  """Raises UserError where PyTorch is not installed."""
  if importlib.util.find_spec("torch") is None:
    from medad_jax.types import UserError

    raise UserError(
      "the baseline is PyTorch, which is not installed: run pip install -e"
      ' ".[benchmarks]", or give --baseline=none'
    )


def heading(racers: Sequence[sides.Racer]) -> list[str]:
  """The machine, the versions and what the trials found."""
  lines = list(dict.fromkeys(racer.about for racer in racers))
  return lines + [note for racer in racers for note in racer.notes]


def print_measured(times: sides.Times, repeats: int) -> None:
  """Prints the measured share of each part, and the time of a unit."""
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


def print_table(*groups: Sequence[Row]) -> None:
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


def print_memory(racers: Sequence[sides.Racer]) -> None:
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


def start_rows(racers: Sequence[sides.Racer]) -> list[Row]:
  """Seconds of both starts; each was made once."""
  return [
    (what, racer.name, [racer.seconds[what]], 0, 0)
    for what in racers[0].seconds
    for racer in racers
  ]


def _phase_rows(racers, times, given) -> list[Row]:
  return [
    (
      phase,
      racer.name,
      times.of_phase(racer.name, phase),
      given.steps(phase),
      given.images(phase),
    )
    for phase in protocol.PHASES
    for racer in racers
  ]


def _total_rows(racers, times) -> list[Row]:
  """All phases, and the start with empty or full caches."""
  rows = []
  for cache in ("cold", "warm"):
    for racer in racers:
      phases = [times.of_phase(racer.name, p) for p in protocol.PHASES]
      start = racer.seconds[f"start-up, {cache} cache"]
      total = [start + sum(turn) for turn in zip(*phases, strict=True)]
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
  steps = args.steps or steps_on(kind)
  images = args.images or _IMAGES.get(kind, _ON_ACCELERATOR["images"])
  return {"steps": steps, "images": images, "starts": 1}


def steps_on(kind: str) -> int:
  """Steps a turn on such a device, where none are given."""
  return _STEPS.get(kind, _ON_ACCELERATOR["steps"])


def check(images: int, batch: int) -> None:
  """Raises UserError where the images do not fill a batch."""
  from medad_jax.types import UserError

  if images < batch:
    raise UserError(
      f"--normal={images} is less than a batch of {batch}: give more images, or"
      " a smaller --batch"
    )


def _with_ours(names: Sequence[str]) -> tuple[str, ...]:
  return tuple(name for name in SIDES if name == "ours" or name in names)


def _protocol(args: argparse.Namespace) -> protocol.Protocol:
  given = protocol.Protocol(
    args.normal,
    args.unlabelled,
    args.tests,
    args.size,
    args.members,
    args.batch,
    precision=args.precision,
  )
  check(given.normal, max(given.batch, given.refine_batch))
  return given


def _describe(given: protocol.Protocol) -> str:
  return (
    f"{given.normal} normal and {given.unlabelled} unlabelled training images,"
    f" {given.tests} test images, generated, of {given.size}x{given.size};"
    f" {given.members} + {given.members} members,"
    f" {given.ensemble_steps:,} steps of {given.batch};"
    f" {given.refine_steps:,} refinement steps of {given.refine_batch};"
    f" {given.precision} (reference: float32)"
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


def positive(text: str) -> int:
  """An option's number, 1 or more."""
  if (number := int(text)) < 1:
    raise argparse.ArgumentTypeError(f"{text} is less than 1")
  return number


if __name__ == "__main__":
  sys.exit(main())
