"""Images below a folder, and what else is there."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
import dataclasses
import os
from pathlib import Path

from data_builders import litter

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")

_LITTER = "hidden, or of an operating system"
_ENDING = f"not ending in {', '.join(SUFFIXES)}"
_TWICE = "in folders that a link leads to a second time"
_OUTSIDE = "images in folders outside of the layout"

_SHOWN = 10  # endings or folders that a sentence names


@dataclasses.dataclass
class Listing:
  """The findings of a walk through a folder.

  Attributes:
    images: files with the ending of an image, in the order of names.
    misfits: folders that cannot be read or are named as images, and why.
    left_out: how many files were left out, by reason and kind.
  """

  images: list[Path] = dataclasses.field(default_factory=list)
  misfits: dict[Path, str] = dataclasses.field(default_factory=dict)
  left_out: Counter[tuple[str, str]] = dataclasses.field(
    default_factory=Counter
  )


def read(folder: Path, endings: tuple[str, ...] = SUFFIXES) -> Listing:
  """Lists a folder with all below it, following links.

  Hidden files and what operating systems add are left out. A folder that is
  not there has nothing in it.

  Args:
    folder: where to start.
    endings: of the names of images, in lower case.
  """
  found = Listing()
  for path, names in _walk(folder, found, endings):
    for name in names:
      if litter.is_litter(name):
        found.left_out[_LITTER, "files"] += 1
      elif _is_image(name, endings):
        found.images.append(path / name)
      else:
        ending = Path(name).suffix.lower() or "no ending"
        found.left_out[_ENDING, ending] += 1
  found.images.sort()
  return found


def outside(source: Path, folders: Collection[str]) -> Counter[tuple[str, str]]:
  """Counts images of a source that are in none of its folders."""
  found: Counter[tuple[str, str]] = Counter()
  known = {source / folder for folder in folders}
  for root, inner, names in os.walk(source):
    path = Path(root)
    inner[:] = [
      n for n in inner if not litter.is_litter(n) and path / n not in known
    ]
    count = sum(_is_image(n) and not litter.is_litter(n) for n in names)
    if count:
      found[_OUTSIDE, path.relative_to(source).as_posix()] += count
  return found


def describe(left_out: Mapping[tuple[str, str], int]) -> list[str]:
  """Sentences that count the files left out, one a reason."""
  totals: Counter[str] = Counter()
  kinds = defaultdict(list)
  for (reason, kind), count in sorted(left_out.items()):
    totals[reason] += count
    kinds[reason].append(f"{kind} ({count})")
  return [
    f"files left out ({reason}): {totals[reason]}, {', '.join(found[:_SHOWN])}"
    + (", ..." if len(found) > _SHOWN else "")
    for reason, found in kinds.items()
  ]


def _walk(
  folder: Path, found: Listing, endings: tuple[str, ...]
) -> Iterator[tuple[Path, list[str]]]:
  """Folders and the names of their files; notes what is not entered."""

  def note(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
      found.misfits[Path(error.filename)] = (error.strerror or "").lower()

  seen = set()
  for root, inner, names in os.walk(folder, onerror=note, followlinks=True):
    path = Path(root)
    state = os.stat(root)
    if (state.st_dev, state.st_ino) in seen:
      found.left_out[_TWICE, path.name] += len(names)
      inner.clear()
      continue
    seen.add((state.st_dev, state.st_ino))
    for name in sorted(inner):
      if litter.is_litter(name):
        found.left_out[_LITTER, name] += _count(path / name)
      elif _is_image(name, endings):
        found.misfits[path / name] = "a folder, not an image"
    inner[:] = sorted(
      n for n in inner if not litter.is_litter(n) and not _is_image(n, endings)
    )
    yield path, names


def _is_image(name: str, endings: tuple[str, ...] = SUFFIXES) -> bool:
  return name.lower().endswith(endings)


def _count(folder: Path) -> int:
  return sum(len(names) for _, _, names in os.walk(folder))
