"""Training steps of this checkout and of another one, in alternation.

  python -m benchmarks.against ../other_checkout
  python -m benchmarks.against ../other_checkout --phases=dae,nsa --repeats=5

Each side is a process that imports its own checkout and takes steps by that
checkout's `benchmarks.jax_side`. A ratio is formed within each turn, and who
begins changes. The file runs in both, and in engines as old as commit 8dcc6ed.
"""

import argparse
from collections.abc import Callable
import json
import os
from pathlib import Path
import statistics
import subprocess
import sys
import time

import numpy as np

# The sides import those of their checkout.
from benchmarks import jax_side, protocol, turns
from configs import reconstruction, ssl
from medad_jax.data import feeds
from medad_jax.engine import config as configuration
from medad_jax.engine import cores, members

_DDAD = ("ensembles", "refinement")
PHASES = (*_DDAD, "dae", "nsa", "cutpaste-2s")
_HERE = Path(__file__).parents[1]


def main(argv: list[str] | None = None) -> int:
  """Prints a line a phase."""
  args = _parse(argv)
  print("phase         steps a turn   this, ms   other, ms   other / this")
  for phase in args.phases:
    sides = [_side(root, phase) for root in (_HERE, args.checkout.resolve())]
    # The first steps compile; the second ones tell how many fill a turn.
    slowest = [max(_ask(side, 1)[0] for side in sides) for _ in range(2)][1]
    # Whole calls, as older engines take no others where steps are looped.
    call = 8 if phase in _DDAD else 1
    steps = args.steps or call * max(1, round(args.seconds / slowest / call))
    taken: list[list[float]] = [[], []]
    for turn in range(args.repeats + 1):
      for number in (0, 1) if turn % 2 else (1, 0):
        seconds, machine = _ask(sides[number], steps)
        taken[number].append(1e3 * seconds)
    for side in sides:
      side.communicate()  # its input ends, and so does it
    this, other = (each[1:] for each in taken)  # the first turn only warms up
    here, there = map(statistics.median, (this, other))
    line = f"{phase:13} {steps:12} {here:10.2f} {there:11.2f}"
    print(f"{line}   {turns.ratio(other, this)}", flush=True)
  print(machine)
  return 0


def _side(root: Path, phase: str) -> subprocess.Popen:
  """A process of a checkout that takes steps of a phase."""
  here = {"PYTHONPATH": str(root), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  return subprocess.Popen(
    # -P: this folder's modules must not stand in for the checkout's.
    [sys.executable, "-P", __file__, "--serve", phase],
    cwd=root,
    env=os.environ | here,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )


def _ask(side: subprocess.Popen, steps: int) -> tuple[float, str]:
  """Seconds a step, of about that many, and the machine as the side sees it."""
  assert side.stdin and side.stdout
  try:
    side.stdin.write(f"{steps}\n")
    side.stdin.flush()
    done, taken, machine = json.loads(side.stdout.readline())
  except (BrokenPipeError, json.JSONDecodeError):
    sys.exit("benchmarks.against: a side ended; what it says stands above")
  return taken / done, machine


def serve(phase: str) -> None:
  """A side's life: numbers of steps in, [steps, seconds, machine] out."""
  replies = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # whatever else is printed
  run = _ddad(phase) if phase in _DDAD else _loop(phase).run
  for line in sys.stdin:
    start = time.perf_counter()
    done = run(int(line))
    reply = (done, time.perf_counter() - start, turns.machine())
    print(json.dumps(reply), file=replies, flush=True)


def _ddad(phase: str) -> Callable[[int], int]:
  """Steps of DDAD-ASR as `benchmarks.ddad` takes them."""
  side = jax_side.Ddad(protocol.Protocol(), 64, {})
  part = next(part for part in side.parts() if part.phase == phase)
  side.visit(part, True)
  return lambda steps: side.run(part, steps)[0]


def _loop(name: str) -> jax_side.Loop:
  """The first phase of a configuration, as a `jax_side.Loop`."""
  made = reconstruction if name == "dae" else ssl
  config = made.get_config(f"phantom/{name}").to_dict()
  phase = configuration.build_method(config).phases()[0]
  images = protocol.generate(256, config["data"]["image_size"], seed=0)
  images = images[..., None].repeat(config["data"]["channels"], -1)
  if hasattr(cores, "devices"):
    devices, trials = cores.devices(phase.members), members.seeds(0, 1)
  else:  # before every phase had a mesh of its own
    size = phase.training.batch_size
    devices, trials = cores.make_layout(phase.members, size), (0,)
  return jax_side.Loop(
    phase,
    members.init_states(phase, trials, images.shape[1:]),
    feeds.choose(images, "resident", 0.0),
    {"normal": np.arange(len(images))},
    devices,
    config["steps_per_call"],
  )


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.against", description=__doc__.splitlines()[0]
  )
  add = parser.add_argument
  add("checkout", type=Path, help="folder of the other one")
  add("--phases", default=",".join(PHASES), help="[all]")
  add(
    "--steps", type=protocol.positive, help="a turn [as many as fill --seconds]"
  )
  add("--seconds", type=float, default=4.0, help="a turn [4]")
  add("--repeats", type=protocol.positive, default=10, help="turns [10]")
  args = parser.parse_args(argv)
  args.phases = args.phases.split(",")
  if unknown := set(args.phases) - set(PHASES):
    parser.error(f"{', '.join(unknown)}: no phase of {', '.join(PHASES)}")
  return args


if __name__ == "__main__":
  if sys.argv[1:2] == ["--serve"]:
    serve(sys.argv[2])
  else:
    sys.exit(main())
