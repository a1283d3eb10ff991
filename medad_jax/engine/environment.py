"""The environment of a run: versions, commit, devices, mesh and precision.

A run may be trained on one machine, continued on a second and evaluated on a
third; each of them is described and kept (`workdir.Workdir.start`).
"""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
import platform
import subprocess
import time
from typing import Any

import jax

import medad_jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def describe(
  precision: str, meshes: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Any]:
  """This process's environment, as JSON values.

  Args:
    precision: of the products, as the configuration names it.
    meshes: devices by axis of each phase's first mesh, by its name; None where
      nothing is trained.
  """
  return {
    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "versions": versions(),
    "commit": _commit(Path(__file__).parents[2]),
    "devices": [device.device_kind for device in jax.devices()],
    "processes": jax.process_count(),
    "meshes": {name: dict(mesh) for name, mesh in (meshes or {}).items()},
    "precision": precision,
  }


def versions() -> dict[str, str]:
  """Versions of this package, Python and the libraries, by name."""
  return {
    "medad_jax": medad_jax.__version__,
    "python": platform.python_version(),
    # From the installed metadata, which costs no import.
    **{name: metadata.version(name) for name in _PACKAGES},
  }


def _commit(root: Path) -> str | None:
  """The commit of the source tree; None where the package is installed."""
  if not (root / ".git").exists():
    return None
  try:
    commit = _git(root, "rev-parse", "HEAD")
    # Untracked files may be results; changed files mean different code.
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
  except (OSError, subprocess.SubprocessError):
    return None  # no git, or another user's repository
  return f"{commit} with changes" if changed else commit


def _git(root: Path, *arguments: str) -> str:
  done = subprocess.run(
    ["git", "-C", str(root), *arguments],
    capture_output=True,
    text=True,
    check=True,
    # A repository on a dead file server must not hold up a run.
    timeout=10,
  )
  return done.stdout.strip()
