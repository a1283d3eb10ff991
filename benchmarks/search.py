"""Seconds of a search as one program, and as runs one after another.

  python -m benchmarks.search --epochs=6

Six learning rates on two folds of the phantom: once as the twelve trials of one
program, and once as twelve commands that each train one rate on one fold. Whole
commands are timed, starts and compilations included. Each side begins with an
empty cache of compiled programs, which its later commands find filled. The data
and the folds are made before anything is timed.
"""

import argparse
import dataclasses
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

from benchmarks import turns
from benchmarks.protocol import positive

RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3)
FOLDS = 2
_HERE = Path(__file__).parents[1]


def main(argv: list[str] | None = None) -> int:
  """Prints the seconds of both sides and their ratio, turn after turn."""
  args = _parse(argv)
  print(turns.machine(), flush=True)
  ratios = []
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    files = _folds(folder)
    for turn in range(args.repeats):
      sides = {"together": _together, "apart": _apart}
      taken = {}
      for side in list(sides)[:: -1 if turn % 2 else 1]:
        place = folder / f"{side}_{turn}"
        start = time.perf_counter()
        for rates, fold, workdir in sides[side](files, place):
          _search(rates, fold, workdir, place / "compiled", args.epochs)
        taken[side] = time.perf_counter() - start
        print(f"turn {turn + 1}, {side}: {taken[side]:.1f} s", flush=True)
      ratios.append(taken["apart"] / taken["together"])
      print(f"turn {turn + 1}: {ratios[-1]:.2f} times as fast", flush=True)
  return 0


def _together(files: list[Path], place: Path):
  yield RATES, files[0], place / "all"


def _apart(files: list[Path], place: Path):
  for rate in RATES:
    for number, file in enumerate(files[1:]):
      yield (rate,), file, place / f"{rate}_{number}"


def _folds(folder: Path) -> list[Path]:
  """Files of both folds, and of each alone."""
  from data_builders import folding
  from medad_jax.data import folds

  found = folding.make("phantom", FOLDS, image_size=32)
  each = [dataclasses.replace(found, folds=(one,)) for one in found.folds]
  paths = [folder / f"folds_{n}.json" for n in range(len(each) + 1)]
  for path, one in zip(paths, [found, *each], strict=True):
    folds.write(path, one)
  return paths


def _search(
  rates: tuple[float, ...], file: Path, workdir: Path, cache: Path, epochs: int
) -> None:
  values = ",".join(map(str, rates))
  done = subprocess.run(
    [
      sys.executable,
      *("-m", "medad_jax.search"),
      "--config=configs/reconstruction.py:phantom/ae",
      "--config.data.image_size=32",
      f"--config.train.epochs={epochs}",
      "--config.train.drop_last=True",
      f"--config.validation.every={max(epochs // 2, 1)}",
      f"--space=train.learning_rate={values}",
      f"--folds={file}",
      f"--workdir={workdir}",
    ],
    cwd=_HERE,
    env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise SystemExit(done.stderr)


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.search",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--epochs", type=positive, default=6)
  parser.add_argument("--repeats", type=positive, default=1)
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
