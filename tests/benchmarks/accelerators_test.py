"""Counts of programs for accelerators, where the packages compile for these.

A command of its own, as JAX reads how to compile for a GPU when it starts.
"""

import importlib.util
import os
import subprocess
import sys

import pytest

from benchmarks import accelerators, targets

CUDA = ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13")


def installed(*names: str) -> bool:
  try:
    return any(importlib.util.find_spec(name) for name in names)
  except ModuleNotFoundError:  # the folder of all plugins
    return False


def table(*arguments: str) -> dict[str, dict[str, float]]:
  """The command's numbers by program and column."""
  command = [sys.executable, "-m", "benchmarks.accelerators", *arguments]
  # The compiler for TPUs ends the process at a flag of CPUs.
  own = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(command, capture_output=True, text=True, env=own)
  assert done.returncode == 0, done.stderr
  rows = {}
  for line in done.stdout.splitlines():
    name, *numbers = line.split(", ")
    if len(numbers) == len(accelerators.HEADER) - 1:
      named = zip(accelerators.HEADER[1:], map(float, numbers), strict=True)
      rows[name] = dict(named)
  return rows


@pytest.mark.skipif(installed(*CUDA), reason="there is a package")
def test_a_missing_package_is_named():
  command = [sys.executable, "-m", "benchmarks.accelerators"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  assert "install 'jax[cuda12]' or 'jax[cuda13]'" in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not installed(*CUDA), reason="no package for GPUs")
def test_steps_on_an_h100():
  """Not more than docs/performance.md says, and a little."""
  found = table("--target=h100", "--programs", "ddad")
  ensemble, refinement = found["ddad ensemble"], found["ddad refine_dual"]
  assert ensemble["kernels"] <= 150 and refinement["kernels"] <= 104
  assert ensemble["times the least"] <= 3.2
  assert refinement["times the least"] <= 3.4
  # Three convolutions of each layer, and nothing for zeros between pixels.
  assert 34 <= ensemble["GFLOP float32"] <= 35.5
  assert 30 <= refinement["GFLOP float32"] <= 31
  for row in (ensemble, refinement):
    assert row["others"] == row["all-reduces"] == row["other collectives"] == 0
    # States take the place of states.
    assert row["MB aliased"] >= 1
  assert ensemble["MB aliased"] >= 323


@pytest.mark.slow
@pytest.mark.skipif(not installed("libtpu"), reason="no package for TPUs")
def test_chips_of_a_v5e_share_a_step():
  found = table("--target=v5e-8", "--programs", "ddad")
  whole = {"ddad ensemble": 35.0, "ddad refine_dual": 30.6}  # of one device
  for name, flops in whole.items():
    row = found[name]
    shared = sum(v for k, v in row.items() if k.startswith("GFLOP"))
    assert shared <= 1.2 / 8 * flops
    assert 0 < row["all-reduces"] <= 30
    assert not row["other collectives"]


def test_targets_have_rates_for_all_precisions():
  for target in targets.TARGETS.values():
    rates = [target.peaks[name] for name in accelerators.operations.PRECISIONS]
    assert rates == sorted(rates)
