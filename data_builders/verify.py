"""Opens and decodes every file of a source before anything is built."""

from collections.abc import Mapping, Sequence
import concurrent.futures
import json
import os
from pathlib import Path

from PIL import Image
import tqdm

from medad_jax.types import UserError

# Pillow turns these to grey by clipping at 255, which is a white image.
_DEEP = ("I", "I;16", "I;16L", "I;16B", "F")

# What decides that a file is still the one that was verified.
State = tuple[int, int]


def verify(
  pairs: Sequence[tuple[Path, Path | None]],
  misfits: Mapping[Path, str],
  root: Path,
  journal: Path | None = None,
) -> None:
  """Decodes all files in parallel; complains about all bad ones at once.

  Args:
    pairs: images that a build will read, with their masks where they have
      any; a file may occur several times.
    misfits: files that are known to be unusable, and why.
    root: the source folder; names in messages start below it.
    journal: where sound files are noted, so that a build that was killed, or
      whose source was mended, need not decode them again.

  Raises:
    UserError: files are missing, truncated, corrupt or too deep, masks have
      another size than their image, or there are misfits.
  """
  named = (path for pair in pairs for path in pair if path is not None)
  unique = list(dict.fromkeys([*named, *misfits]))
  known = _read_journal(journal)
  todo = [path for path in unique if not _is_known(path, known)]
  broken = _check_all(todo, journal) if todo else {}
  # The size of what cannot be opened is nobody's concern.
  bad = {**_check_sizes(pairs, broken), **misfits, **broken}
  if bad:
    lines = [
      f"  {_below(path, root)}: {bad[path]}" for path in unique if path in bad
    ]
    raise UserError(
      f"{len(bad)} of {len(unique)} files cannot be used in {root}; restore"
      " them or take them out, then run the same command again:\n"
      + "\n".join(lines)
    )


def problem(path: Path) -> str | None:
  """Why an image file cannot be used, or None."""
  try:
    if not path.stat().st_size:
      return "empty file"
    # `verify` checks the checksums of PNG, and leaves the image unusable.
    with Image.open(path) as image:
      image.verify()
    with Image.open(path) as image:
      image.load()
      mode = image.mode
  except FileNotFoundError:
    return "missing"
  except Image.UnidentifiedImageError:
    return "not an image"
  # Pillow's decoders raise nearly anything on a damaged file, and one of them
  # must not hide the others.
  except Exception as error:
    return f"truncated or corrupt ({' '.join(str(error).split())})"
  if mode in _DEEP:
    return f"more than 8 bits a pixel (mode {mode}): convert it first"
  return None


def _check_all(
  files: Sequence[Path], journal: Path | None
) -> Mapping[Path, str]:
  bad = {}
  with (
    concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    open(journal or os.devnull, "a", buffering=1) as log,
  ):
    found = pool.map(problem, files)
    for path, reason in tqdm.tqdm(
      zip(files, found, strict=True), "verifying", len(files), unit="file"
    ):
      if reason is None:
        log.write(json.dumps([str(path), *_state(path)]) + "\n")
      else:
        bad[path] = reason
  return bad


def _check_sizes(
  pairs: Sequence[tuple[Path, Path | None]], broken: Mapping[Path, str]
) -> Mapping[Path, str]:
  """Masks whose size is not their image's."""
  bad = {}
  for image, mask in pairs:
    if mask is None or image in broken or mask in broken:
      continue
    with Image.open(image) as picture, Image.open(mask) as marks:
      if picture.size != marks.size:
        bad[mask] = "its size is {}x{}, its image's {}x{} pixels".format(
          *marks.size, *picture.size
        )
  return bad


def _read_journal(journal: Path | None) -> dict[str, State]:
  if journal is None or not journal.exists():
    return {}
  known = {}
  for line in journal.read_text().splitlines():
    try:
      path, size, time = json.loads(line)
    except ValueError:
      continue  # the line a killed build was writing
    known[path] = (size, time)
  return known


def _is_known(path: Path, known: Mapping[str, State]) -> bool:
  return path.exists() and known.get(str(path)) == _state(path)


def _state(path: Path) -> State:
  found = path.stat()
  return found.st_size, found.st_mtime_ns


def _below(path: Path, root: Path) -> Path:
  return path.relative_to(root) if path.is_relative_to(root) else path
