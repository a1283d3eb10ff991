"""Images on disk, of a folder or of a list, as a data set."""

from collections import Counter
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import os
from pathlib import Path
import tempfile
from typing import Any

import numpy as np
import tqdm

from medad_jax import files
from medad_jax.data import (
  alike,
  cache,
  columns,
  decode,
  manifest,
  reading,
  scans,
  spec,
  store,
  volumes,
)
from medad_jax.types import UserError

NAME = "folder"
VOLUME = "volume"  # the column of slices with the file that they are of
_SHOWN = 8  # offenders or values that are listed
_CHUNK = 256  # images a time


@dataclasses.dataclass(frozen=True)
class _Source:
  """Images that are read.

  Attributes:
    folder: that names are given below.
    entries: of the files, by split in the order of paths.
    frame: what the images become.
    axis: that volumes are cut across.
  """

  folder: Path
  entries: Sequence[manifest.Entry]
  frame: decode.Frame
  axis: volumes.Axis


def open_folder(
  folder: Path,
  entries: Sequence[manifest.Entry],
  data_dir: str | None,
  frame: decode.Frame,
  axis: volumes.Axis = "axial",
) -> spec.Dataset:
  """Opens images on disk; each split of the entries is one of the set.

  What was found is printed before anything is trained. The arrays are cached
  with built sets; files that have changed are read again. Memory grows by a
  thumbnail and a name for each image.

  Args:
    folder: that names are given below.
    entries: of the files.
    data_dir: where caches are; None for the default.
    frame: what the images become.
    axis: that volumes are cut across.

  Raises:
    UserError: none of a split can be read.
  """
  source = _Source(folder, entries, frame, axis)
  root = files.expanded(data_dir) if data_dir else store.default_data_dir()
  names = tuple(dict.fromkeys(entry.split for entry in entries))
  digest = _digest(source)
  place = cache.Cache(root / "cache" / f"{NAME}_{digest[:16]}")
  facts = place.facts()
  if facts is not None and place.has(names):
    counts = ", ".join(f"{k} ({n})" for k, n in facts["counts"].items())
    print(f"images of {folder}, as read before: {counts}", flush=True)
    stored = {name: place.load(name, facts) or {} for name in names}
  else:
    stored = {name: _read(source, name, place.folder) for name in names}
    facts = {
      "counts": {name: len(one["labels"]) for name, one in stored.items()},
      "fingerprints": dict.fromkeys(names, digest),
    }
    for name, one in stored.items():
      place.store(name, facts, one)
      # Rather pages of the file, which the system may drop, than memory.
      stored[name] = place.load(name, facts) or one
  splits = {name: spec.Split(**one) for name, one in stored.items()}
  return spec.Dataset(NAME, splits, digest, dict(facts["counts"]))


def _digest(source: _Source) -> str:
  """Hash of the frame, of all entries and of each file's size and time."""
  frame = source.frame
  facts = [frame.size, frame.channels, frame.preparation, cache.RULE]
  hashed = hashlib.sha256(json.dumps([*facts, source.axis]).encode())
  for entry in source.entries:
    name = scans.Place(entry.path).name(source.folder)
    told = [name, entry.split, entry.label, dict(entry.texts)]
    told += [_state(path) for path in (entry.path, entry.mask) if path]
    hashed.update(json.dumps(told).encode())
  return hashed.hexdigest()


def _state(path: Path) -> list:
  try:
    found = path.stat()
  except OSError:  # it is told with the files that cannot be read
    return [str(path)]
  return [found.st_size, found.st_mtime_ns]


class _Found:
  """The images of a split, as they are read."""

  def __init__(self, images: np.ndarray, masks: np.ndarray | None):
    self.images, self.masks = images, masks
    self.names: list[str] = []
    self.labels: list[int] = []
    self.texts: list[dict[str, str]] = []
    self.unreadable: dict[str, str] = {}
    self.empty_slices = 0
    self.counts: dict[str, Counter] = {
      kind: Counter() for kind in ("size", "mode", "bits")
    }

  def add(self, name: str, entry: manifest.Entry, read: reading.Read, mask):
    """Takes one image."""
    row = len(self.names)
    self.images[row] = read.pixels
    if self.masks is not None:
      self.masks[row] = False if mask is None else mask
    self.counts["size"]["{}x{}".format(*read.size)] += 1
    self.counts["mode"][read.mode] += 1
    self.counts["bits"][read.bits] += 1
    self.names.append(name)
    self.labels.append(entry.label)
    texts = {columns.PATIENT: read.patient}
    if volumes.is_volume(entry.path):
      texts[VOLUME] = read.patient
    # What a list says is more than what the file says.
    self.texts.append(texts | {k: v for k, v in entry.texts.items() if v})

  def column(self, name: str) -> tuple[str, ...]:
    """A text of each image; "" where there is none."""
    return tuple(texts.get(name, "") for texts in self.texts)

  def patients(self) -> set[str]:
    """All patients that are known."""
    return set(self.column(columns.PATIENT)) - {""}

  def drop_one_patient(self) -> bool:
    """Forgets a patient whom all images share; True if there was one.

    Files that were made anonymous often state the same one. Slices of one
    volume are another matter: they are of one patient.
    """
    images = self.column(columns.PATIENT)
    if len(images) < 2 or len(set(images)) > 1 or not images[0]:
      return False
    if any(self.column(VOLUME)):
      return False
    for texts in self.texts:
      texts[columns.PATIENT] = ""
    return True

  def stored(self) -> dict[str, Any]:
    """The split as a cache stores it."""
    count = len(self.names)
    known = dict.fromkeys(name for texts in self.texts for name in texts)
    texts = {name: self.column(name) for name in known}
    return {
      "images": self.images[:count],
      "labels": np.array(self.labels, np.int32),
      "masks": None if self.masks is None else self.masks[:count],
      "names": tuple(self.names),
      "columns": {k: values for k, values in texts.items() if any(values)},
    }


def _read(source: _Source, split: str, folder: Path) -> dict[str, Any]:
  """All images of a split that can be read, as a cache stores them."""
  entries = [entry for entry in source.entries if entry.split == split]
  of_paths = {entry.path: entry for entry in entries}
  places = scans.places(list(of_paths), source.axis)
  frame, shape = source.frame, (len(places), source.frame.size)
  found = _Found(
    _room((*shape, frame.size, frame.channels), frame.dtype, folder),
    _room((*shape, frame.size), bool, folder)
    if any(entry.mask for entry in entries)
    else None,
  )
  bar = tqdm.tqdm(total=len(places), desc=split, unit="image", disable=None)
  with bar, reading.Reader(source.folder, frame, source.axis) as reader:
    for at in range(0, len(places), _CHUNK):
      part = places[at : at + _CHUNK]
      for place, read in zip(part, reader.read(part), strict=True):
        entry, name = of_paths[place.path], place.name(source.folder)
        mask = None
        if read.pixels is not None and entry.mask is not None:
          mask, read = _mask(entry.mask, frame, read)
        if read.pixels is not None:
          found.add(name, entry, read, mask)
        elif place.number is not None and read.reason == scans.EMPTY:
          found.empty_slices += 1
        else:
          found.unreadable[name] = read.reason
      bar.update(len(part))
  _tell(source, split, found)
  return found.stored()


def _room(shape: tuple[int, ...], kind: Any, folder: Path) -> np.ndarray:
  """An array in a file without a name, or in memory where none can be made."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
      return np.memmap(file, kind, "w+", shape=shape)
  except OSError:
    return np.empty(shape, kind)


def _mask(path: Path, frame: decode.Frame, read: reading.Read):
  """The marked pixels, and the image, which is left out without them."""
  try:
    return frame.mask(path.read_bytes()), read
  except Exception as error:  # as of images: one must not stop thousands
    reason = " ".join(f"its mask {path.name} cannot be read: {error}".split())
    return None, reading.Read(reason=reason[:200])


def _tell(source: _Source, split: str, found: _Found) -> None:
  """Prints what was found, or says that nothing was."""
  where = _where(source, split)
  bad = [f"  {name}: {why}" for name, why in found.unreadable.items()]
  if (more := len(bad) - _SHOWN) > 0:
    bad = [*bad[:_SHOWN], f"  and {more} more"]
  if not found.names:
    listed = "; ".join(text.strip() for text in bad) or "its slices are empty"
    raise UserError(
      f"no image of {where} ({split}) can be read ({listed}); give"
      " files that hold images."
    )
  kind = {manifest.TRAIN: "normal", manifest.UNLABELLED: "unlabelled"}
  what = kind.get(split, split)
  count = len(found.names)
  lines = [f"{count:,} {what} image{'s' * (count > 1)} in {where}"]
  for title, name in (("sides", "size"), ("modes", "mode"), ("bits", "bits")):
    counts = found.counts[name]
    shown = [f"{k} ({n:,})" for k, n in counts.most_common(_SHOWN)]
    if (rest := len(counts) - len(shown)) > 0:
      shown.append(f"{rest} more")
    lines.append(f"  {title}: {', '.join(shown)}")
  if found.counts["mode"]["RGB"] and source.frame.channels == 1:
    lines.append("  color becomes gray: set data.channels=3 to keep it")
  lines += [*_about_patients(found), *_about_twins(found, split)]
  if found.empty_slices:
    lines.append(f"  {found.empty_slices:,} empty slices are left out")
  if bad:
    count = len(found.unreadable)
    lines += [f"  files without an image that can be read: {count:,}", *bad]
  print("\n".join(lines), flush=True)


def _where(source: _Source, split: str) -> Path:
  """The folder of a split's files: that of all images, or one beside it."""
  own = [e.path.parent for e in source.entries if e.split == split]
  if all(path.is_relative_to(source.folder) for path in own):
    return source.folder
  return Path(os.path.commonpath([path.absolute() for path in own]))


def _about_patients(found: _Found) -> list[str]:
  count = len(found.patients())
  lines = [f"  patients: {f'{count:,}' if count else 'none stated'}"]
  if found.drop_one_patient():
    lines = ["  patients: all files state the same one, which is ignored"]
  counts = Counter(found.labels)
  if len(counts) > 1:
    lines.append(f"  labels: {counts[0]:,} normal, {counts[1]:,} abnormal")
  return lines


def _about_twins(found: _Found, split: str) -> list[str]:
  images = found.images[: len(found.names)]
  groups = alike.groups(images, None)
  lines = []
  if twins := len(images) - len(np.unique(groups)):
    lines.append(f"  pixel for pixel copies of another image: {twins:,}")
  whose = columns.patients({columns.PATIENT: found.column(columns.PATIENT)})
  # Copies are told already, and count as one patient.
  pairs = alike.near(images, alike.groups(images, whose))
  if pairs:
    shown = [f"{found.names[a]} and {found.names[b]}" for a, b in pairs[:3]]
    more = f" and {len(pairs) - 3:,} more pairs" if len(pairs) > 3 else ""
    lines.append(f"  nearly the same image: {', '.join(shown)}{more}")
    if whose is None and split == manifest.TRAIN:
      # Held-out images with a sister in training score lower than new patients.
      lines.append(
        "    (where they are of one patient, name patients in a list for"
        " data.manifest, or new ones cause more false alarms than promised)"
      )
  return lines
