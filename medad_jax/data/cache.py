"""Prepared splits on disk: plain .npy files and one small JSON each.

Only numpy is needed to read them. A split is its JSON file: the arrays are
written before it, so what a killed process leaves behind is not a split.
"""

from collections.abc import Iterable, Mapping
import json
import os
from pathlib import Path
import sys
from typing import Any
import zlib

import numpy as np

# Number of the decoding rule; raise it when the same file gives other pixels.
RULE = 1

_ARRAYS = ("images", "places", "labels", "masks", "healthy")
_BLOCK = 1 << 24  # bytes a checksum reads at a time


class Cache:
  """The cached splits of one set, prepared in one way.

  Args:
    folder: where the files are, made when something is stored.
  """

  def __init__(self, folder: Path):
    self.folder = folder

  def facts(self) -> dict[str, Any] | None:
    """Counts and fingerprints of the set, None when nothing is cached."""
    for path in sorted(self.folder.glob("*.json")):
      entry = _read_json(path)
      if entry is not None:
        return entry["facts"]
    return None

  def has(self, splits: Iterable[str]) -> bool:
    """True if splits are there, of one build and not damaged."""
    facts = self.facts()
    return facts is not None and all(
      self.load(split, facts) is not None for split in splits
    )

  def load(self, split: str, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arrays and texts of a split; None when absent, stale or damaged."""
    entry = _read_json(self.folder / f"{split}.json")
    if entry is None or entry["fingerprint"] != facts["fingerprints"][split]:
      return None
    stored: dict[str, Any] = {
      "names": tuple(entry["names"]),
      "masks": None,
      "healthy": None,
      # Caches of before there were columns have no such entry.
      "columns": {k: tuple(v) for k, v in entry.get("columns", {}).items()},
    }
    for name, crc in entry["crc"].items():
      stored[name] = _read_array(self._array(split, name), crc)
      if stored[name] is None:
        return None
    return stored

  def store(
    self, split: str, facts: Mapping[str, Any], stored: Mapping[str, Any]
  ) -> None:
    """Writes a split; says so, and goes on, where nothing can be written."""
    try:
      self._store(split, facts, stored)
    except OSError as error:
      print(
        f"medad_jax: cannot cache {split} in {self.folder}"
        f" ({error.strerror}); the next start will decode it again.",
        file=sys.stderr,
      )

  def _store(self, split, facts, stored) -> None:
    self.folder.mkdir(parents=True, exist_ok=True)
    arrays = {k: stored[k] for k in _ARRAYS if stored.get(k) is not None}
    (self.folder / f"{split}.json").unlink(missing_ok=True)
    for name, array in arrays.items():
      with _Replacing(self._array(split, name)) as file:
        np.save(file, array, allow_pickle=False)
    entry = {
      "rule": RULE,
      "fingerprint": facts["fingerprints"][split],
      "facts": {k: facts[k] for k in ("counts", "fingerprints")},
      "crc": {name: _crc(array) for name, array in arrays.items()},
      "names": list(stored["names"]),
      "columns": {k: list(v) for k, v in stored.get("columns", {}).items()},
    }
    entry["sum"] = _sum(entry)
    with _Replacing(self.folder / f"{split}.json") as file:
      file.write(json.dumps(entry, indent=1).encode())

  def _array(self, split: str, name: str) -> Path:
    return self.folder / f"{split}.{name}.npy"


class _Replacing:
  """Writes a file that appears whole or not at all."""

  def __init__(self, path: Path):
    self._path = path
    # Several processes of one run may decode the same split at once.
    self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")

  def __enter__(self):
    self._file = self._temporary.open("wb")
    return self._file

  def __exit__(self, kind, *_):
    self._file.close()
    if kind is None:
      self._temporary.replace(self._path)
    else:
      self._temporary.unlink()


def _read_json(path: Path) -> dict[str, Any] | None:
  """The record of a split; None when absent or of another rule."""
  try:
    entry = json.loads(path.read_bytes())
  except FileNotFoundError:
    return None
  except (OSError, ValueError, RecursionError) as error:
    _tell_damage(path, error)
    return None
  if not isinstance(entry, dict) or entry.pop("sum", None) != _sum(entry):
    _tell_damage(path, "its checksum differs")
    return None
  return entry if entry.get("rule") == RULE else None


def _read_array(path: Path, crc: int) -> np.ndarray | None:
  try:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if _crc(array) != crc:
      raise ValueError("its checksum differs")
  # numpy reads the header as Python: a damaged one can raise nearly anything.
  except Exception as error:
    _tell_damage(path, error)
    return None
  return array


def _tell_damage(path: Path, why: object) -> None:
  reason = " ".join(str(why).split())[:120]
  print(f"medad_jax: {path} is damaged ({reason!a})", file=sys.stderr)


def _sum(entry: Mapping[str, Any]) -> int:
  return zlib.crc32(json.dumps(entry, sort_keys=True).encode())


def _crc(array: np.ndarray) -> int:
  flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  crc = zlib.crc32(repr((array.shape, array.dtype.str)).encode())
  for start in range(0, len(flat), _BLOCK):
    crc = zlib.crc32(flat[start : start + _BLOCK], crc)
  return crc
