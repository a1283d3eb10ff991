"""Text files that name an image a line, perhaps with a label after it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_builders import base, notices
from medad_jax.types import UserError


def read(path: Path, remedy: str) -> list[str]:
  """The names of a list, each once, in their order.

  A name is all of a line before a label of one digit.

  Args:
    path: the list.
    remedy: what to do where it is missing.

  Raises:
    UserError: there is no such file, it is no text, or it names no image or
      one outside of its folder.
  """
  try:
    lines = path.read_bytes().decode("utf-8-sig").splitlines()
  except FileNotFoundError as error:
    raise UserError(f"there is no {path}; {remedy}.") from error
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"{path} cannot be read ({error}); {remedy}.") from error
  names = list(dict.fromkeys(map(_name, filter(str.strip, lines))))
  if not names:
    raise UserError(f"{path} names no image; {remedy}.")
  base.check_inside(names, path)
  return names


def check_apart(lists: Sequence[tuple[Path, Sequence[str]]]) -> None:
  """Raises UserError if two lists have a name in common."""
  counts = Counter(name for _, names in lists for name in names)
  twice = [name for name, count in counts.items() if count > 1]
  if twice:
    shown = ", ".join(path.name for path, _ in lists)
    raise UserError(
      f"{len(twice)} names are in two of the lists {shown}; keep each in"
      " one:\n" + notices.listed(twice)
    )


def _name(line: str) -> str:
  name, _, label = line.strip().rpartition(" ")
  return (
    name.strip()
    if name and label.isdigit() and len(label) == 1
    else (line.strip())
  )
