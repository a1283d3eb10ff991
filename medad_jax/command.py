"""The command `medad`: every program of the package by one name.

medad train --config=...      is  python -m medad_jax.main --config=...
medad build brain ...         is  python -m medad_jax.build brain ...
"""

import ast
from collections.abc import Sequence
import difflib
import importlib.util
from pathlib import Path
import runpy
import sys

# Modules are found by name and imported when they are asked for; one that this
# version lacks is no subcommand.
MODULES = {
  "train": "medad_jax.main",
  "predict": "medad_jax.predict",
  "evaluate": "medad_jax.evaluate",
  "compare": "medad_jax.compare",
  "by-step": "medad_jax.by_step",
  "export": "medad_jax.export",
  "search": "medad_jax.search",
  "reproduce": "medad_jax.reproduce",
  "build": "medad_jax.build",
  "weights": "medad_jax.weights",
  "import-torch": "medad_jax.import_torch",
  "export-torch": "medad_jax.export_torch",
  "audit": "medad_jax.audit",
  "synthesize": "medad_jax.synthesize",
  "doctor": "medad_jax.doctor",
}
_FIRST = """A folder of normal scans, and nothing else, is enough:

  medad train --config=configs/folder.py \\
      --config.data.normal=normals --workdir=runs/mine
  medad predict --workdir=runs/mine --images=new --out=scored
  medad export --workdir=runs/mine --out=model.medad

All commands (medad COMMAND --help says more):
"""


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs a subcommand as its module; returns the exit status."""
  given = sys.argv[1:] if arguments is None else arguments
  name, *rest = given or ["--help"]
  if name in ("help", "--help", "-h"):
    print(help_text())
    return 0
  if name == "--version":
    import medad_jax

    print(f"medad_jax {medad_jax.__version__}")
    return 0
  known = commands()
  if name not in known:
    print(f"medad: {_unknown(name, list(known))}", file=sys.stderr)
    return 2
  sys.argv = [f"medad {name}", *rest]
  # As `python -m` does, so that both are one program.
  runpy.run_module(known[name], run_name="__main__", alter_sys=True)
  return 0


def commands() -> dict[str, str]:
  """Modules of this version by subcommand."""
  return {
    name: module
    for name, module in MODULES.items()
    if importlib.util.find_spec(module) is not None
  }


def help_text() -> str:
  """The commands that a newcomer needs, and a line on each there is."""
  lines = [f"  {name:13} {_summary(m)}" for name, m in commands().items()]
  return _FIRST + "\n".join(lines)


def _summary(module: str) -> str:
  """The first line of the module's docstring, without importing it."""
  found = importlib.util.find_spec(module)
  assert found is not None and found.origin is not None
  path = Path(found.origin)
  if path.name == "__init__.py":  # a package's program
    path = path.with_name("__main__.py")
  text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
  return text.partition("\n")[0].rstrip(".")


def _unknown(name: str, known: Sequence[str]) -> str:
  if name.startswith("-"):
    return f"{name} stands before any command; write medad COMMAND {name}."
  near = difflib.get_close_matches(name.replace("_", "-"), known, 1)
  hint = f"did you mean {near[0]}?" if near else "medad --help lists them."
  return f"'{name}' is no command; {hint}"


if __name__ == "__main__":
  sys.exit(main())
