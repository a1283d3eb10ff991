"""Several processes on this machine, started as a user starts them."""

import os
from pathlib import Path
import subprocess
import sys

ROOT = Path(__file__).parents[1]


def launch(module, *args, count="2", devices=1, **environment):
  """`launch/local.sh` with a module of the tests or the package.

  Args:
    module: its `main` is run by every process.
    args: its flags.
    count: of the processes.
    devices: simulated ones of each process.
    environment: more variables.
  """
  flags = os.environ.get("XLA_FLAGS", "").split()
  # conftest.py has set eight.
  kept = [flag for flag in flags if "device_count" not in flag]
  kept.append(f"--xla_force_host_platform_device_count={devices}")
  return subprocess.run(
    [ROOT / "launch" / "local.sh", count, *args],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env=os.environ
    | {
      "MODULE": module,
      "PYTHON": sys.executable,
      "XLA_FLAGS": " ".join(kept),
    }
    | environment,
    timeout=300,
    check=False,
  )
