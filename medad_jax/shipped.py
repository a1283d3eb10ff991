"""Finder of what comes with the package: configuration files and builders.

In the source tree `configs/` and `data_builders/` stand beside the package. An
installed wheel has them inside it, in `_shipped/`, so that no module of such a
general name lands in site-packages. This is the only file that knows.
"""

import importlib
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

from medad_jax import files
from medad_jax.types import UserError


def folder() -> Path:
  """The folder that holds `configs` and `data_builders`."""
  package = Path(__file__).parent
  inside = package / "_shipped"
  return inside if inside.is_dir() else package.parent


def module(name: str) -> ModuleType:
  """Imports a module of `configs` or `data_builders`, such as "configs.ssl"."""
  root = str(folder())
  if root not in sys.path:
    sys.path.insert(0, root)
  return importlib.import_module(name)


def call(name: str, function: str, *args: Any) -> Any:
  """The result of a function of a module that only `module` finds.

  A process on another host, which is told to call this one, finds the package.
  """
  return getattr(module(name), function)(*args)


def builder_names() -> list[str]:
  """Names of the folders of `data_builders` that hold a builder."""
  found = (folder() / "data_builders").glob("*/builder.py")
  return sorted(path.parent.name for path in found)


def configuration_file(given: str) -> Path:
  """The configuration file that a user names.

  That is a file of the user's, or else one that comes with the package, such
  as configs/phantom_ddad.py. Afterwards `from configs import ...` in it finds
  the files beside it first, if its folder is called configs, and ours.

  Raises:
    UserError: there is no such file.
  """
  path = files.expanded(given)
  ours = folder() / path
  # An absolute path replaces the folder, and leads nowhere else.
  found = path if path.is_file() else ours
  if not given or not found.is_file():
    raise UserError(_no_file(given, path))
  package = module("configs")
  if found.parent.name == "configs":
    beside = str(found.parent.absolute())
    package.__path__ = [beside, *(p for p in package.__path__ if p != beside)]
  return found


def _no_file(given: str, path: Path) -> str:
  """The sentence; it lists the files that could have been meant."""
  is_folder = bool(given) and path.is_dir()
  near = path if is_folder else path.parent
  names = [p.name for p in sorted(near.glob("[!_]*.py")) if p.is_file()]
  ours = sorted(p.stem for p in (folder() / "configs").glob("[!_]*.py"))
  there = (
    f"{near} holds {', '.join(names[:20])}"
    if given and names
    else f"there is configs/NAME.py, where NAME is one of {', '.join(ours)}"
  )
  kind = "is a folder" if is_folder else "names no file"
  return f"--config={given} {kind}; {there}."
