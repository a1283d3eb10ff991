"""Runs a function over many jobs, in interpreters of their own.

Not multiprocessing: builders run inside programs that have started jax, where
forking is unsafe, and spawning would run an unguarded script once more.
"""

from collections.abc import Callable, Iterator, Sequence
import concurrent.futures
import os
from pathlib import Path
import pickle
import subprocess
import sys
from typing import Any


def run(
  function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], chunk: int
) -> Iterator[Any]:
  """Yields function(*job) for every job, in order.

  Args:
    function: a module's function, found again by its name.
    jobs: arguments that can be pickled.
    chunk: jobs an interpreter gets; enough to be worth its start.

  Raises:
    subprocess.CalledProcessError: the function raised; its traceback is on
      standard error.
  """
  chunks = [jobs[i : i + chunk] for i in range(0, len(jobs), chunk)]
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    results = pool.map(lambda part: _run(function, part), chunks)
    try:
      for part in results:
        yield from part
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


def _run(function: Callable[..., Any], jobs: Sequence[Any]) -> list[Any]:
  root = str(Path(__file__).parents[1])
  path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
  done = subprocess.run(
    [sys.executable, "-m", "data_builders.workers"],
    input=pickle.dumps((function, jobs)),
    stdout=subprocess.PIPE,
    env=os.environ | {"PYTHONPATH": path},
    check=True,
  )
  return pickle.loads(done.stdout)


def _main() -> None:
  function, jobs = pickle.load(sys.stdin.buffer)
  results = pickle.dumps([function(*job) for job in jobs])
  sys.stdout.buffer.write(results)


if __name__ == "__main__":
  try:
    _main()
  except KeyboardInterrupt:
    sys.exit(130)  # the program that asked says what happened
