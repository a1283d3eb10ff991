"""Runs a function over many jobs in worker processes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib


def run(
  function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]
) -> Iterator[Any]:
  """Yields function(*job) for every job, in order.

  joblib's workers start as fresh interpreters: builders run inside programs
  that have started jax, where forking is unsafe. They never run the calling
  script again, so it needs no guard.

  Args:
    function: a function that can be pickled.
    jobs: arguments that can be pickled.

  Raises:
    Exception: whatever the function raised.
  """
  parallel = joblib.Parallel(n_jobs=-1, return_as="generator")
  return parallel(joblib.delayed(function)(*job) for job in jobs)
