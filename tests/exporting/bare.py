"""A Python that has nothing but jax, numpy and what jax needs."""

import importlib.util
import os
from pathlib import Path
import subprocess
import sys

# jax's own requirements, and nothing else: neither flax nor Pillow.
PACKAGES = ("jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy")


def run(folder: Path, *arguments: str, beside: Path | None = None):
  """Runs Python in a folder, on links to these packages alone.

  Args:
    folder: where the links go.
    arguments: of Python.
    beside: one more place for modules, such as a model file.
  """
  links = folder / "bare"
  links.mkdir(exist_ok=True)
  for name in PACKAGES:
    (found,) = importlib.util.find_spec(name).submodule_search_locations
    for path in (Path(found), Path(f"{found}.libs")):
      if path.exists() and not (links / path.name).exists():
        (links / path.name).symlink_to(path)
  start = (
    "import runpy, sys;"
    f"sys.path[:] = {[str(beside or links), str(links), *_standard()]!r};"
    "sys.argv = sys.argv[1:];"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
  )
  # -S leaves out site-packages.
  return subprocess.run(
    [sys.executable, "-S", "-c", start, *arguments],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
    env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
  )


def _standard() -> list[str]:
  """The places of Python's own modules."""
  return [
    path
    for path in sys.path
    if path.startswith(sys.base_prefix) and "site-packages" not in path
  ]
