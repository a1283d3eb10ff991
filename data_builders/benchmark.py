"""All sets of MedIAnomaly's folder with one command: `build all`."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
import sys
from typing import Any

from medad_jax import files
from medad_jax.types import UserError

_ENDINGS = ("", ".tar.gz")  # of a folder, and of its archive as downloaded

Kinds = Mapping[str, type[Any]]  # builders by name
Build = Callable[..., Path]


def build_all(
  kinds: Kinds, build: Build, source: str | None, download: bool
) -> list[Path]:
  """Builds every set of the benchmark that is there.

  A set that fails leaves the others: it is told, and counted in the end.

  Args:
    kinds: all builders.
    build: builds one, from its name and `source` or `download`.
    source: a folder laid out as ~/MedIAnomaly-Data; None to download.
    download: whether to fetch what can be.

  Returns:
    The sets' folders.

  Raises:
    UserError: none is there, or some could not be built.
  """
  members = {k: kind for k, kind in kinds.items() if kind.BENCHMARK}
  wanted = _downloads(members) if download else _sources(members, source)
  absent = [f"{k} ({members[k].BENCHMARK})" for k in members if k not in wanted]
  if absent:
    why = "no download is known for" if download else f"{source} lacks"
    print(f"{why} {', '.join(absent)}")
  built, failed = [], []
  for name, given in wanted.items():
    print(f"\n{name}", flush=True)
    try:
      built.append(build(name, **given))
    except UserError as error:
      print(f"data_builders: {error}", file=sys.stderr)
      failed.append(name)
  if failed:
    raise UserError(
      f"{len(failed)} of {len(wanted)} sets could not be built"
      f" ({', '.join(failed)}; see above); the same command goes on with them."
    )
  return built


def _downloads(members: Kinds) -> dict[str, dict[str, Any]]:
  return {k: {"download": True} for k, kind in members.items() if kind.REMOTE}


def _sources(members: Kinds, source: str | None) -> dict[str, dict[str, Any]]:
  """The source of each set that is in the folder."""
  folders = [kind.BENCHMARK for kind in members.values()]
  if source is None:
    raise UserError(
      f"all needs --source=DIR, where DIR holds any of {_listed(folders)}, or"
      " --download."
    )
  root = files.expanded(source)
  found = {}
  for name, kind in members.items():
    places = [root / f"{kind.BENCHMARK}{ending}" for ending in _ENDINGS]
    for place in filter(Path.exists, places):
      found.setdefault(name, {"source": place})
  if not found:
    raise UserError(
      f"--source={source} holds none of {_listed(folders)}, nor an archive of"
      " one; give the folder that they are in."
    )
  return found


def _listed(names: Iterable[str]) -> str:
  return ", ".join(sorted(names))
