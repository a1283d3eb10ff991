"""Worker processes: order, errors, and scripts without a guard."""

import os
import signal
import subprocess
import sys

import pytest

from medad_jax.data import workers


def test_results_come_in_the_order_of_jobs():
  jobs = [(i, 3) for i in range(200)]
  assert list(workers.run(divmod, jobs)) == [divmod(*job) for job in jobs]


def test_jobs_run_in_other_processes():
  assert os.getpid() not in set(workers.run(os.getpid, [()] * 4))


def test_an_error_is_raised_as_it_is():
  with pytest.raises(ZeroDivisionError):
    list(workers.run(divmod, [(1, 1), (1, 0)]))


SCRIPT = """
import jax
from medad_jax.data import workers
jax.numpy.ones(3) + 1  # after this, a fork could hang
def double(value):
  return 2 * value
print(list(workers.run(double, [(1,), (2,), (3,)])))
"""


def test_a_script_without_a_guard_runs_once(tmp_path):
  (tmp_path / "script.py").write_text(SCRIPT)
  done = subprocess.run(
    [sys.executable, "-W", "error", tmp_path / "script.py"],
    env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert (done.stdout, done.stderr) == ("[2, 4, 6]\n", "")


def test_workers_leave_interrupts_to_their_parent():
  before = signal.getsignal(signal.SIGINT)
  found = list(workers.run(signal.getsignal, [(signal.SIGINT,)] * 4))
  assert found == [signal.SIG_IGN] * 4
  assert signal.getsignal(signal.SIGINT) == before
