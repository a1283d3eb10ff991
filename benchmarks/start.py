"""Seconds of a short run from its command line to its end.

  python -m benchmarks.start
  python -m benchmarks.start --against=../other_checkout --repeats=3

The run is the phantom's with one epoch of each phase, in a fresh process, once
with an empty cache of compiled programs and once with the cache that this has
filled. The data are built and the libraries read from the disk before anything
is timed. With `--against` another checkout does the same in alternation, and a
ratio is formed within each turn; who begins changes from turn to turn.
"""

import argparse
from collections.abc import Sequence
import os
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import turns
from benchmarks.protocol import positive

_RUN = (
  *("-m", "medad_jax.main", "--config=configs/phantom_ddad.py"),
  *("--config.train.epochs=1", "--config.refine.epochs=1"),
)
# Imports what a run imports and builds what it reads.
_PREPARE = """
from medad_jax.data import spec
from medad_jax.engine import experiment
from benchmarks import turns
print(turns.machine())
spec.open_dataset("phantom", image_size=32)
"""
_CACHES = ("empty", "full")
_HERE = Path(__file__).parents[1]


def main(argv: list[str] | None = None) -> int:
  """Prints the seconds of every start, then medians and ratios."""
  args = _parse(argv)
  checkouts = {"this": _HERE}
  if args.against:
    checkouts["other"] = args.against.resolve()
  times = {(side, c): [] for side in checkouts for c in _CACHES}
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    for side, root in checkouts.items():
      _, said = _python(root, ("-c", _PREPARE), folder, side, "unused")
      print(f"{side}: {root}, {said.splitlines()[0]}", flush=True)
    for turn in range(args.repeats):
      names = list(checkouts)[:: -1 if turn % 2 else 1]
      for side in names:
        for cache in _CACHES:
          workdir = folder / f"{side}_{turn}_{cache}"
          arguments = (*_RUN, f"--workdir={workdir}")
          root = checkouts[side]
          taken, _ = _python(root, arguments, folder, side, str(turn))
          times[side, cache].append(taken)
          line = f"turn {turn + 1}, {side}, {cache} cache: {taken:.1f} s"
          print(line, flush=True)
  for (side, cache), taken in times.items():
    line = f"{side}, {cache} cache: {statistics.median(taken):.1f} s"
    if side == "other":
      line += f", {turns.ratio(taken, times['this', cache])} times this"
    print(line)
  return 0


def _python(
  root: Path, arguments: Sequence[str], folder: Path, side: str, cache: str
) -> tuple[float, str]:
  """Seconds of a process in a checkout, and what it printed.

  Args:
    root: the checkout.
    arguments: of Python.
    folder: of data and caches.
    side: whose they are.
    cache: names a cache of compiled programs.
  """
  environment = os.environ | {
    "PYTHONPATH": str(root),
    "MEDAD_DATA_DIR": str(folder / f"{side}_data"),
    "JAX_COMPILATION_CACHE_DIR": str(folder / f"{side}_cache_{cache}"),
  }
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, *arguments],
    cwd=root,
    env=environment,
    capture_output=True,
    text=True,
  )
  taken = time.perf_counter() - start
  if done.returncode:
    sys.exit(f"{root}: {' '.join(arguments)} failed:\n{done.stderr}")
  return taken, done.stdout


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.start", description=__doc__.splitlines()[0]
  )
  parser.add_argument("--against", type=Path, help="another checkout")
  parser.add_argument("--repeats", type=positive, default=1, help="turns [1]")
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
