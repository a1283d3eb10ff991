"""The operations of a training step, by the time that they take.

  python -m benchmarks.operations --members=1
  python -m benchmarks.operations --members=6 --kinds

Runs DDAD-ASR's ensembles as configs/rsna_ddad.py describes them, records one
call with JAX's profiler and prints milliseconds a step and member of XLA's
operations, or with `--kinds` of operations of the same name but for its number
(`ynn_fusion` are matrix products on CPUs). Operations inside a loop are summed;
those that run at once on several threads count each.
"""

import argparse
import collections
from collections.abc import Iterator
from pathlib import Path
import re
import tempfile
import time

import jax

from benchmarks import programs, turns

# What the profiler records of the host besides operations.
_NOT_ONE = re.compile(
  r"\$|ThunkExecutor|SlinkyThreadPool|PjitFunction|CommonPjRt|ParseArguments"
)


def main(argv: list[str] | None = None) -> None:
  """The command line."""
  args = _parse(argv)
  phase = programs.ensemble(args.members, args.batch)
  device = tuple(jax.devices()[:1])
  take = programs.Program(phase, args.size, args.steps, devices=device).start()
  for turn in range(3):  # the first one compiles
    start = time.perf_counter()
    jax.block_until_ready(take(turn))
    taken = time.perf_counter() - start
  each = args.steps * args.members
  print(turns.machine())
  print(f"{1e3 * taken / each:.1f} ms a step and member, of which")
  found = collections.Counter[str]()
  for name, nanoseconds in record(take):
    found[name.rstrip(".0123456789") if args.kinds else name] += nanoseconds
  for name, nanoseconds in found.most_common(args.rows):
    print(f"{nanoseconds / 1e6 / each:8.2f}  {name}")


def record(take) -> Iterator[tuple[str, float]]:
  """Names and nanoseconds of the operations of a call."""
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      jax.block_until_ready(take(0))
    (path,) = Path(folder).rglob("*.xplane.pb")
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    devices = [p for p in planes if p.name.startswith("/device:")]
    for plane in devices or planes:
      for line in plane.lines:
        for event in line.events:
          if not _NOT_ONE.match(event.name):
            yield event.name, event.duration_ns


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.operations", description=__doc__.split("\n")[0]
  )
  defaults = {"members": 6, "batch": 64, "size": 64, "steps": 2, "rows": 25}
  for name, value in defaults.items():
    parser.add_argument(
      f"--{name}", type=programs.positive, default=value, help=f"[{value}]"
    )
  parser.add_argument(
    "--kinds", action="store_true", help="sums of operations of one name"
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  main()
