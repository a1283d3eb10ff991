"""Downloads that go on where they were interrupted."""

import http.client
from pathlib import Path
import re
import shutil
import ssl
import time
from typing import IO
import urllib.error
import urllib.request

from medad_jax.types import UserError

_BLOCK = 1 << 20  # bytes that are read at a time
_TRIES = 3  # connections that may break one after another
_PAUSE = 2.0  # seconds before the next one
_TIMEOUT = 60  # seconds without a byte
_LONG = 100e6  # bytes from which on progress is told
# What a connection that breaks raises, in all layers.
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ssl.SSLError)
_BROKEN += (TimeoutError, ConnectionError)
_NO_MORE = 416  # HTTP's answer where a file ends before what is asked for


def fetch(url: str, path: Path, remedy: str) -> None:
  """Downloads a file; goes on with what an interrupted call has left.

  What has come stands beside it under the ending `.part` until all is there.
  Whether the file is the right one is for the caller to say.

  Args:
    url: of the file.
    path: of the file here; its folder is there.
    remedy: what else a user can do, as the end of a sentence.

  Raises:
    UserError: it cannot be reached, or the disk has no room for it.
    OSError: the disk cannot be written.
  """
  part = path.with_name(f"{path.name}.part")
  left = _TRIES
  while True:
    before = _size(part)
    try:
      _go_on(url, part)
    except _BROKEN as error:
      # Whoever got further may try as often again.
      left = _TRIES if _size(part) > before else left - 1
      # A server that says no says it again; a connection may come back.
      if isinstance(error, urllib.error.HTTPError) or not left:
        raise UserError(_sentence(url, part, error, remedy)) from error
      time.sleep(_PAUSE)
    else:
      part.replace(path)
      return


def _go_on(url: str, part: Path) -> None:
  """Appends what the part lacks, or begins anew where the server does."""
  have = _size(part)
  asked = {"Range": f"bytes={have}-"} if have else {}
  request = urllib.request.Request(url, headers=asked)
  try:
    answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
  except urllib.error.HTTPError as error:
    if error.code != _NO_MORE:
      raise
    # The server's file ends where the part does, or is another one by now.
    if error.headers.get("Content-Range", "").endswith(f"/{have}"):
      return
    part.unlink()
    raise http.client.HTTPException("it is another file by now") from error
  with answer:
    start = _start(answer)
    if start not in (0, have):
      raise http.client.HTTPException(f"the answer begins at byte {start:,}")
    length = answer.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    _check_room(url, part, (total or 0) - start)
    with part.open("ab" if start else "wb") as file:
      _copy(answer, file, start, total)
  # Python takes the end of a connection for the end of the file.
  if total is not None and _size(part) < total:
    raise http.client.HTTPException("the connection ended early")


def _start(answer) -> int:
  """The place in the file at which an answer begins."""
  given = answer.headers.get("Content-Range", "")
  found = re.match(r"bytes (\d+)-", given)
  return int(found[1]) if found else 0


def _copy(answer, file: IO[bytes], at: int, total: int | None) -> None:
  """Copies an answer to a file, and tells each tenth of a long one."""
  where = f" of {total / 1e6:,.0f} MB" if total else ""
  from_here = f", from {at / 1e6:,.0f} MB on" if at else ""
  print(f"downloading {answer.url}{where}{from_here}", flush=True)
  while block := answer.read(_BLOCK):
    file.write(block)
    before, at = at, at + len(block)
    if total and total > _LONG and 10 * before // total < 10 * at // total:
      print(f"  {at / total:.0%}", flush=True)


def _check_room(url: str, part: Path, needed: int) -> None:
  free = shutil.disk_usage(part.parent).free
  if needed > free:
    raise UserError(
      f"{url} has {needed / 1e6:,.0f} MB to download, and {part.parent} has"
      f" {free / 1e6:,.0f} MB left; make room there, and run the same command"
      " again."
    )


def _sentence(url: str, part: Path, error: Exception, remedy: str) -> str:
  reason = getattr(error, "reason", None) or error
  kept = ""
  if come := _size(part):
    kept = f"; what has come ({come / 1e6:,.1f} MB) is kept for the next try"
  return f"{url} could not be downloaded ({reason}){kept}; {remedy}."


def _size(path: Path) -> int:
  return path.stat().st_size if path.exists() else 0
