"""Two processes are one run: what it finds, what it leaves, how it ends."""

import json
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from medad_jax.data import stream
from medad_jax.engine import processes, train
from medad_jax.types import UserError
from tests import tiny
from tests.engine import together
from tests.launched import ROOT, launch

TOGETHER = "tests.engine.together"


def assert_same(found: Path, expected) -> None:
  with np.load(found / "found.npz") as arrays:
    assert set(arrays) == set(expected)
    for name, values in expected.items():
      np.testing.assert_allclose(
        arrays[name], values, rtol=2e-4, atol=2e-5, err_msg=name
      )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """What one process finds on two of its devices."""
  return together.find(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("two")
  done = launch(TOGETHER, f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  return workdir


def test_two_processes_find_what_one_finds(alone, undisturbed):
  """They share the ensemble's members, then the refinement net's batch."""
  assert_same(undisturbed, alone)


def test_one_process_writes(undisturbed):
  lines = (undisturbed / "metrics.jsonl").read_text().splitlines()
  steps = [(r["phase"], r["step"]) for r in map(json.loads, lines)]
  assert len(steps) == len(set(steps))


def test_a_killed_process_ends_the_run_and_the_next_start_goes_on(
  tmp_path, undisturbed
):
  done = launch(TOGETHER, f"--workdir={tmp_path}", "--killed=2")
  assert done.returncode == 137
  last = done.stderr.splitlines()[-1]
  assert "the same command goes on from the last checkpoint" in last
  assert not (tmp_path / "found.npz").exists()
  done = launch(TOGETHER, f"--workdir={tmp_path}")
  assert done.returncode == 0, done.stderr
  assert "from step 6" in done.stderr
  with np.load(undisturbed / "found.npz") as expected:
    with np.load(tmp_path / "found.npz") as found:
      for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("count", ["", "0", "two"])
def test_a_number_of_processes_is_asked_for(count):
  done = launch(TOGETHER, "--workdir=/nonexistent", count=count)
  assert done.returncode == 2
  assert "not a number of processes" in done.stderr


def test_a_mistake_is_said_and_ends_all():
  done = launch("medad_jax.main", "--config=configs/nope.py")
  assert done.returncode == 2
  assert "rsna_ddad.py" in done.stderr
  assert "Traceback" not in done.stderr


def test_without_others_there_is_one_sentence():
  done = subprocess.run(
    [sys.executable, "-m", TOGETHER, "--distributed"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert "JAX_COORDINATOR_ADDRESS" in done.stderr
  assert "Traceback" not in done.stderr


def test_a_process_reads_its_own_rows_only():
  class Watched(np.ndarray):
    read: set[int] = set()

    def __getitem__(self, rows):
      if isinstance(rows, np.ndarray):
        Watched.read |= set(rows.ravel().tolist())
      return np.asarray(self)[rows]

  phase = tiny.method().phases()[0]
  order = train.make_order(phase, tiny.pools(), tiny.TRIALS)
  wanted = order.rows(0, 2, range(4))["id"][:, 2:, :4]
  feed = stream.Stream(tiny.images().view(Watched))

  def part(members, rows):
    return slice(2, members), slice(0, rows // 2)

  (chunk,) = feed.chunks(order, [(0, 2)], range(4), False, part)
  assert chunk["image"].shape == (2, 2, 4, *tiny.SHAPE)
  np.testing.assert_array_equal(chunk["id"], wanted)
  assert Watched.read == set(wanted.ravel().tolist())


def test_a_process_alone_feeds_everything():
  at = tiny.devices(2, 2).layout(4, 8)
  assert at.part(4, 8) == (slice(0, 4), slice(0, 8))


def test_a_number_that_is_none_is_one_sentence(monkeypatch):
  monkeypatch.setenv("JAX_PROCESS_ID", "second")
  with pytest.raises(UserError, match="JAX_PROCESS_ID='second'"):
    processes.join()
