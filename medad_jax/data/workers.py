"""Runs a function over many jobs in worker processes."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import signal
import threading
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
  with _deaf_to_interrupts():
    return parallel(joblib.delayed(function)(*job) for job in jobs)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
  """Processes started here ignore Ctrl-C for good, this one meanwhile.

  The terminal sends it to all of them. A worker would print a traceback of
  where it stood; joblib ends it anyway.
  """
  if threading.current_thread() is not threading.main_thread():
    yield  # only the main thread may change it
    return
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before or signal.SIG_DFL)
