"""What must be set before any test imports jax."""

from importlib.metadata import version
import os
from pathlib import Path
import re
import sys

from absl import flags
import pytest
from xdist import scheduler

_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "jax"

# Sharding is tested on eight simulated devices, whatever the machine has.
os.environ["JAX_PLATFORMS"] = "cpu"
_FLAGS = [
  os.environ.get("XLA_FLAGS", ""),
  "--xla_force_host_platform_device_count=8",
  # Simulated devices wait for each other, on a busy machine for long; XLA ends
  # the process after 40 s.
  "--xla_cpu_collective_call_terminate_timeout_seconds=300",
  # Small programs: compiling them well costs five times what it saves.
  "--xla_backend_optimization_level=0",
]
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
  # Fusion emitters compile three times as long. Later XLA has nothing else, and
  # ends the process at a flag that it does not know.
  _FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(_FLAGS)
# Compiling is most of a test's time: a second run finds its programs here.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

# grain reads absl flags, which only a binary's main would parse.
flags.FLAGS.mark_as_parsed()

assert "jax" not in sys.modules, "jax was imported before its settings"


class _ByProgram(scheduler.LoadScopeScheduling):
  """Keeps tests that share programs on one process.

  These are the tests of a file, and of the methods' contract those of a method:
  in one piece it would still run when all else is done.
  """

  def _split_scope(self, nodeid):
    contract = re.match(
      # Two kinds of tests look at several methods, and share what they find.
      r".*methods/contract_test\.py::test_(?!pmap|two_processes)\w+\[(\w+)\]",
      nodeid,
    )
    file = nodeid.partition("::")[0]
    return f"{file}[{contract[1]}]" if contract else file


def pytest_xdist_make_scheduler(config, log):
  return _ByProgram(config, log)


def pytest_collection_modifyitems(items):
  """Puts methods first, as they take the longest."""
  items.sort(key=lambda item: item.path.parent.name != "methods")


@pytest.fixture(scope="module", autouse=True)
def _programs_of_one_file():
  """Lets a file's compiled programs go, which no other file runs again."""
  yield
  import jax

  # Without this a process of the whole suite grows to 9 GB.
  jax.clear_caches()
