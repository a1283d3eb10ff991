"""A folder of normal images as a data set with nothing but a training split."""

from collections import Counter
from collections.abc import Sequence
import concurrent.futures
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from medad_jax import files
from medad_jax.data import alike, cache, columns, decode, scans, spec, store
from medad_jax.types import UserError

NAME = "folder"
_SHOWN = 8  # offenders or values that are listed
_CHUNK = 256  # files a time, as decoded pictures may be large
_ABNORMAL = {"abnormal", "anomalous", "anomaly", "anomalies", "positive"}


def open_folder(
  normal: Path, data_dir: str | None, frame: decode.Frame
) -> spec.Dataset:
  """Opens all images below a folder; the split "train" is all there is.

  What was found is printed before anything is trained. The arrays are cached
  with built sets; a folder whose files have changed is read again.

  Args:
    normal: folder of normal images.
    data_dir: where caches are; None for the default.
    frame: what the images become.

  Raises:
    UserError: there are no images, none can be read, or some stand in folders
      that call them abnormal.
  """
  paths = scans.find(normal)
  _check_labels(normal, paths)
  digest = _digest(normal, paths, frame)
  root = files.expanded(data_dir) if data_dir else store.default_data_dir()
  place = cache.Cache(root / "cache" / f"{NAME}_{digest[:16]}")
  facts = place.facts()
  stored = None if facts is None else place.load("train", facts)
  if facts is None or stored is None:
    stored = _read(normal, paths, frame)
    facts = {
      "counts": {"train": len(stored["labels"])},
      "fingerprints": {"train": digest},
    }
    place.store("train", facts, stored)
    stored = place.load("train", facts) or stored
  else:
    print(f"{len(stored['labels'])} images of {normal}, as read before")
  return spec.Dataset(
    NAME, {"train": spec.Split(**stored)}, digest, dict(facts["counts"])
  )


def _check_labels(normal: Path, paths: Sequence[Path]) -> None:
  odd = sorted(
    {
      part
      for path in paths
      for part in path.relative_to(normal).parts[:-1]
      if part.lower() in _ABNORMAL
    }
  )
  if odd:
    raise UserError(
      f"{normal} should hold normal images alone, and has folders called"
      f" {', '.join(odd)}; give the folder of the normal ones."
    )


def _digest(normal: Path, paths: Sequence[Path], frame: decode.Frame) -> str:
  """Hash of the frame and of every file's name, size and time."""
  hashed = hashlib.sha256()
  facts = [frame.size, frame.channels, frame.preparation, cache.RULE]
  hashed.update(json.dumps(facts).encode())
  for path in paths:
    found = path.stat()
    name = os.fsencode(path.relative_to(normal))
    hashed.update(name + f"\n{found.st_size} {found.st_mtime_ns}\n".encode())
  return hashed.hexdigest()


def _read(
  normal: Path, paths: Sequence[Path], frame: decode.Frame
) -> dict[str, Any]:
  """All images that can be read, in order, as a cache stores them."""
  shape = (len(paths), frame.size, frame.size, frame.channels)
  images = np.empty(shape, frame.dtype)
  names: list[str] = []
  patients: list[str] = []
  unreadable: dict[str, str] = {}
  counts: dict[str, Counter] = {"size": Counter(), "mode": Counter()}
  counts["bits"] = Counter()

  def one(path):
    try:
      scan = scans.read(path)
      return scan, frame.prepared(scan.picture)
    except scans.Unreadable as error:
      return str(error), None

  bar = tqdm.tqdm(total=len(paths), desc="reading", unit="image", disable=None)
  with bar, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for at in range(0, len(paths), _CHUNK):
      part = paths[at : at + _CHUNK]
      for path, (scan, pixels) in zip(part, pool.map(one, part), strict=True):
        name = path.relative_to(normal).as_posix()
        if pixels is None:
          unreadable[name] = scan
          continue
        images[len(names)] = pixels
        counts["size"]["{}x{}".format(*scan.picture.size)] += 1
        counts["mode"][scan.picture.mode] += 1
        counts["bits"][scan.bits] += 1
        names.append(os.fsencode(name).decode("utf-8", "backslashreplace"))
        patients.append(scan.patient)
      bar.update(len(part))
  images = images[: len(names)]
  _tell(normal, images, patients, counts, unreadable, frame)
  return {
    "images": images,
    "labels": np.zeros(len(names), np.int32),
    "masks": None,
    "names": tuple(names),
    "columns": {columns.PATIENT: tuple(patients)} if any(patients) else {},
  }


def _tell(normal, images, patients, counts, unreadable, frame) -> None:
  """Prints what was found, or says that nothing was."""
  bad = [f"  {name}: {why}" for name, why in unreadable.items()]
  if more := len(bad) - _SHOWN:
    bad = bad[:_SHOWN] + ([f"  and {more} more"] if more > 0 else [])
  if not len(images):
    listed = "; ".join(text.strip() for text in bad)
    raise UserError(f"no image in {normal} can be read ({listed}).")
  lines = [f"{len(images)} normal images in {normal}"]
  for title, kind in (("sides", "size"), ("modes", "mode"), ("bits", "bits")):
    shown = [f"{k} ({n})" for k, n in counts[kind].most_common(_SHOWN)]
    if (rest := len(counts[kind]) - len(shown)) > 0:
      shown.append(f"{rest} more")
    lines.append(f"  {title}: {', '.join(shown)}")
  if counts["mode"]["RGB"] and frame.channels == 1:
    lines.append("  color becomes gray: set data.channels=3 to keep it")
  known = {patient for patient in patients if patient}
  lines.append(f"  patients: {len(known) or 'none stated'}")
  twins = len(images) - len(np.unique(alike.groups(images, None)))
  if twins:
    lines.append(f"  {twins} images are pixel for pixel copies of another")
  if unreadable:
    lines += [
      f"  {len(unreadable)} files have no image that can be read:",
      *bad,
    ]
  print("\n".join(lines), flush=True)
