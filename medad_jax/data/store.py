"""The store of built sets: their names, folders, facts, and locks.

What writes sets (`data_builders`) and what reads them (`spec`) both use it.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import fcntl
import hashlib
import json
import os
from pathlib import Path
import re
import shutil
from typing import IO, Any

from medad_jax import files
from medad_jax.types import UserError

SPLITS = ("train", "unlabelled_normal", "unlabelled_abnormal", "test")
AUDIT = "audit.json"  # findings of an audit, in a built set's folder

_NAME = re.compile(r"[a-z][a-z0-9_]*")
# The ending of a set's folder while another one takes its place.
_OLD = ".old"


def default_data_dir() -> Path:
  """$MEDAD_DATA_DIR, or the folder medad_data in the user's home."""
  return files.data_dir()


def check_name(name: str) -> None:
  """Raises UserError unless `name` can name a data set."""
  if not _NAME.fullmatch(name) or name == "cache":
    raise UserError(
      f"'{name}' cannot name a data set; use lower-case letters, digits and"
      " underscores, starting with a letter ('cache' is taken)."
    )


def find_built(root: Path, name: str) -> Path | None:
  """The folder of the newest version of a finished set, or None."""
  found = [path.parent for path in (root / name).glob("*/metadata.json")]
  return max(found, key=_rank, default=None)


def built_names(root: Path) -> list[str]:
  """Names of the finished sets in a folder."""
  return sorted({p.parts[-3] for p in root.glob("*/*/metadata.json")})


def read_facts(folder: Path) -> dict[str, Any]:
  """Facts that a builder recorded of a set.

  Returns:
    'counts' and 'fingerprints' by split, 'published' counts, and 'source', the
    name of the folder or archive that the set was built from.

  Raises:
    UserError: the record is damaged.
  """
  path = folder / "metadata.json"
  remedy = "build the set again with --overwrite"
  facts = files.read_json(path, remedy)
  if not are_sound(facts):
    raise UserError(
      f"{path} is damaged (it lacks the counts or fingerprints of the splits);"
      f" {remedy}."
    )
  published = facts.get("published")
  return facts | {
    "published": published if _are(int, published) else {},
    "source": str(facts.get("source")),
  }


def read_audit(folder: Path) -> dict[str, Any]:
  """Findings of the audit of a built set, as data_builders/audit.py keeps them.

  Empty where there was none, or where the set was built anew since.

  Raises:
    UserError: the record is damaged.
  """
  path = folder / AUDIT
  if not path.exists():
    return {}
  remedy = (
    f"make it again with python -m data_builders.audit {folder.parent.name}"
  )
  found = files.read_json(path, remedy)
  same = found.get("fingerprints") == read_facts(folder)["fingerprints"]
  return found if same else {}


def are_sound(facts: Any) -> bool:
  """True if counts and fingerprints are there, for the same splits."""
  if not isinstance(facts, dict):
    return False
  counts, fingerprints = facts.get("counts", 0), facts.get("fingerprints", 0)
  return (
    _are(int, counts)
    and _are(str, fingerprints)
    and counts.keys() == fingerprints.keys()
    and all(count > 0 for count in counts.values())
  )


def identity(
  at: int,
  name: str,
  label: int,
  image: bytes,
  mask: bytes | None,
  columns: Mapping[str, str] | None = None,
  healthy: bytes | None = None,
) -> bytes:
  """Bytes of one row that go into a split's fingerprint.

  Args:
    at: the row's place in the split.
    name: what the source calls the image.
    label: its class.
    image: the image file's content.
    mask: the mask file's content, where the set has masks.
    columns: what else is known of the image.
    healthy: the content of the file that marks healthy pixels.
  """
  marks = [mask] if healthy is None else [mask, healthy]
  hashes = [
    data and hashlib.sha256(data).hexdigest() for data in (image, *marks)
  ]
  # A set without columns keeps the fingerprint that it had before there were
  # any.
  more = [dict(sorted(columns.items()))] if columns else []
  return json.dumps([at, name, label, *hashes, *more]).encode()


def fingerprint(identities: Iterable[bytes]) -> str:
  """The sha256 of a split, from the identities of its rows in order."""
  digest = hashlib.sha256()
  for row in identities:
    digest.update(row)
  return digest.hexdigest()


def replace(fresh: Path, final: Path, trash: Path) -> None:
  """Moves a new set to where an old one may be; `find_built` finds one always.

  Args:
    fresh: the new set's folder.
    final: where it goes, on the same file system.
    trash: where the old one goes to be removed.
  """
  final.parent.mkdir(parents=True, exist_ok=True)
  old = final.with_name(final.name + _OLD)
  if final.exists():
    _discard(old, trash)
    final.rename(old)
  fresh.rename(final)
  _discard(old, trash)


def _discard(folder: Path, trash: Path) -> None:
  """Removes a set at once, as far as `find_built` can see."""
  shutil.rmtree(trash, ignore_errors=True)
  if folder.exists():
    folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


@contextlib.contextmanager
def locked(work: Path) -> Iterator[Path]:
  """A folder of which one process at a time has the lock.

  The lock dies with its process. A folder that keeps no notes of unfinished
  work is removed in the end.
  """
  lock = _lock(work)
  try:
    yield work
  finally:
    if [path.name for path in work.iterdir()] == ["lock"]:
      shutil.rmtree(work)
      with contextlib.suppress(OSError):  # another set is under way
        work.parent.rmdir()
    lock.close()


def _lock(work: Path) -> IO[str]:
  while True:
    work.mkdir(parents=True, exist_ok=True)
    lock = (work / "lock").open("w")
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print(f"waiting for another build of {work.name} to end")
      fcntl.flock(lock, fcntl.LOCK_EX)
    # The other process may have removed the file that this one waited for.
    if _is_file(lock, work / "lock"):
      return lock
    lock.close()


def _is_file(opened: IO[str], path: Path) -> bool:
  try:
    return os.path.samestat(os.fstat(opened.fileno()), path.stat())
  except FileNotFoundError:
    return False


def _rank(folder: Path) -> tuple[bool, list[int]]:
  """Orders versions; an old set counts where no new one is."""
  version = [int(part) for part in re.findall(r"\d+", folder.name)]
  return not folder.name.endswith(_OLD), version


def _are(kind: type, found: Any) -> bool:
  """True for a dictionary of values of that type."""
  return isinstance(found, Mapping) and all(
    isinstance(value, kind) and not isinstance(value, bool)
    for value in found.values()
  )
