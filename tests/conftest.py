"""What must be set before any test imports jax."""

from importlib.metadata import version
import os
from pathlib import Path
import sys

from absl import flags
import pytest

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


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(items):
  """Says which tests stay on one process: those that share programs.

  These are the tests of a file, and of the contract those of a method: in one
  piece it would still run when all else is done. Methods come first, as they
  take the longest.
  """
  items.sort(key=lambda item: item.path.parent.name != "methods")
  for item in items:
    group = item.nodeid.partition("::")[0]
    if item.path.stem == "contract_test" and hasattr(item, "callspec"):
      group += str(item.callspec.params.get("name", ""))
    item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="module", autouse=True)
def _programs_of_one_file():
  """Lets a file's compiled programs go, which no other file runs again."""
  yield
  import jax

  # Without this a process of the whole suite grows to 9 GB.
  jax.clear_caches()
