"""Training steps of this checkout and of another one, in alternation.

  python -m benchmarks.against ../other_checkout --repeats=10
  python -m benchmarks.against ../other_checkout --phases=dae,nsa --steps=8

Each side is a process that imports its own checkout and takes steps with that
checkout's `benchmarks.jax_side`. A turn measures as many steps of a phase on
both sides; a ratio is formed within each turn, and who begins changes from turn
to turn. This file runs in both: the engine may differ, so that whatever it asks
of the other checkout is written for both.
"""

import argparse
import contextlib
import json
import os
from pathlib import Path
import statistics
import subprocess
import sys
from typing import Any

import numpy as np

PHASES = ("ensembles", "refinement", "dae", "nsa", "cutpaste-2s")
_HERE = Path(__file__).parents[1]
_IMAGES = 256  # of the phases that have no protocol of their own


def main(argv: list[str] | None = None) -> int:
  """Prints a line a phase."""
  args = _parse(argv)
  from benchmarks import turns

  print(turns.machine())
  print("phase         steps a turn   this, ms   other, ms   other / this")
  sides = {"this": _HERE, "other": args.checkout.resolve()}
  for phase in args.phases:
    with contextlib.ExitStack() as stack:
      ready = {n: stack.enter_context(Side(p, phase)) for n, p in sides.items()}
      # The first calls compile and are not counted; the second ones are warm.
      for side in ready.values():
        side.seconds(1)
      slowest = max(side.seconds(1) for side in ready.values())
      steps = args.steps or max(1, round(args.seconds / slowest / 8) * 8)
      for side in ready.values():
        side.seconds(steps)
      taken: dict[str, list[float]] = {name: [] for name in ready}
      for turn in range(args.repeats):
        for name in list(ready)[:: -1 if turn % 2 else 1]:
          taken[name].append(ready[name].seconds(steps))
    this, other = (1e3 * statistics.median(t) for t in taken.values())
    ratio = turns.ratio(taken["other"], taken["this"])
    print(f"{phase:13} {steps:12} {this:10.2f} {other:11.2f}   {ratio}")
    sys.stdout.flush()
  return 0


class Side:
  """A process of a checkout that takes steps of a phase."""

  def __init__(self, root: Path, phase: str):
    self._root, self._phase = root, phase
    # -P: this folder's modules must not stand in for the checkout's.
    self._process = subprocess.Popen(
      [sys.executable, "-P", __file__, "--serve", phase],
      cwd=root,
      env=os.environ | {"PYTHONPATH": str(root)},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def seconds(self, steps: int) -> float:
    """Seconds a step, of about that many."""
    assert self._process.stdin and self._process.stdout
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.write(f"{steps}\n")
      self._process.stdin.flush()
    line = self._process.stdout.readline()
    if not line:
      sys.exit(f"{self._phase} of {self._root} ended; its reason is above")
    done, taken = json.loads(line)
    return taken / done

  def __enter__(self) -> "Side":
    return self

  def __exit__(self, *_: object) -> None:
    assert self._process.stdin
    self._process.stdin.close()
    self._process.wait()


def serve(phase: str) -> None:
  """A side's life: numbers of steps in, [steps, seconds] out."""
  from benchmarks import jax_side
  from benchmarks.protocol import Part, Protocol

  replies = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # whatever else is printed
  protocol = Protocol()
  if phase in ("ensembles", "refinement"):
    side = jax_side.Ddad(protocol, 64, {})
    part = next(p for p in side.parts() if p.phase == phase)
  else:
    side, part = jax_side._Jax(), Part("training", phase, 0)
    side._make = lambda _: _loop(phase)
  side.visit(part, True)
  for line in sys.stdin:
    print(json.dumps(side.run(part, int(line))), file=replies, flush=True)
  side.close()


def _loop(name: str) -> Any:
  """The first trained phase of a configuration, as a `jax_side.Loop`."""
  from benchmarks import jax_side
  from benchmarks.protocol import generate
  from configs import reconstruction, ssl
  from medad_jax.data import feeds
  from medad_jax.engine import config as configuration
  from medad_jax.engine import cores, members

  config = (
    reconstruction.get_config("rsna/dae")
    if name == "dae"
    else ssl.get_config(f"phantom/{name}")
  ).to_dict()
  phase = configuration.build_method(config).phases()[0]
  images = generate(_IMAGES, config["data"]["image_size"], seed=0)
  images = images[..., None].repeat(config["data"]["channels"], -1)
  if hasattr(cores, "devices"):
    devices, trials = cores.devices(phase.members), members.seeds(0, 1)
  else:  # before a phase had devices of its own
    size = phase.training.batch_size
    devices, trials = cores.make_layout(phase.members, size), (0,)
  return jax_side.Loop(
    phase,
    members.init_states(phase, trials, images.shape[1:]),
    feeds.choose(images, "resident", 0.0),
    {"normal": np.arange(_IMAGES)},
    devices,
    config["steps_per_call"],
  )


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.against", description=__doc__.splitlines()[0]
  )
  parser.add_argument("checkout", type=Path, help="folder of the other one")
  parser.add_argument(
    "--phases",
    type=lambda text: text.split(","),
    default=PHASES,
    help=f"[{','.join(PHASES)}]",
  )
  parser.add_argument(
    "--steps", type=int, help="a turn [as many as fill --seconds]"
  )
  parser.add_argument("--seconds", type=float, default=4.0, help="a turn [4]")
  parser.add_argument("--repeats", type=int, default=10, help="turns [10]")
  args = parser.parse_args(argv)
  if unknown := set(args.phases) - set(PHASES):
    parser.error(f"--phases: {', '.join(sorted(unknown))} unknown; {PHASES}")
  return args


if __name__ == "__main__":
  if sys.argv[1:2] == ["--serve"]:
    serve(sys.argv[2])
  else:
    sys.exit(main())
