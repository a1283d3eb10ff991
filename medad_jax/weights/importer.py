"""Imports pretrained networks: from a file or the web into the user's cache."""

import http.client
from pathlib import Path
import shutil
import ssl
import urllib.error
import urllib.request

from medad_jax.types import UserError
from medad_jax.weights import catalog, net_file, pretrained


def import_file(name: str, source: Path) -> None:
  """Checks a file and keeps its numbers in the user's cache.

  Args:
    name: one of `catalog.NETS`.
    source: a PyTorch or safetensors file, with the official file's names.

  Raises:
    UserError: the file cannot be read or does not fit.
  """
  net = catalog.NETS[name]
  arrays, digest = net_file.read(name, source)
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
    digest = net_file.sha256(path)
    if not pretrained.is_official(name, digest):
      raise UserError(
        f"what came from {net.url} is not the official file (SHA-256"
        f" {digest[:8]}..., not {net.digest[:8]}...): it is incomplete or was"
        " changed on the way; get it otherwise and run"
        f" {pretrained.command(name)}."
      )
    import_file(name, path)


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
