"""Columns: what is known of an image beside its label.

A set holds texts; a step gets whole numbers, since arrays hold no texts.
"""

from collections.abc import Iterable, Mapping, Sequence
import re

from jaxtyping import Int
import numpy as np

from medad_jax.types import UserError

PATIENT = "patient"  # images of one patient are not independent
CLASS = "class"  # the kind of abnormality that an image shows
SET = "set"  # the data set that an image is from; filled when sets are opened

_NAME = re.compile(r"[a-z][a-z0-9_]*")
UNKNOWN = -1  # the code of a text that training did not see

# Names that a batch, or scores.csv, has for other things.
_TAKEN = frozenset(
  ("image", "label", "valid", "slot", "id", "source", "anatomy", "name", SET)
)

Texts = Mapping[str, Sequence[str]]
# The texts of each column; a text's code is its place among them.
Codes = Mapping[str, Sequence[str]]


def check(names: Iterable[str], origin: str) -> None:
  """Raises UserError unless all names can be those of columns.

  Args:
    names: the columns' names.
    origin: where they were found, for the message.
  """
  bad = sorted(
    name for name in names if name in _TAKEN or not _NAME.fullmatch(name)
  )
  if bad:
    raise UserError(
      f"{origin} has columns named {', '.join(map(repr, bad[:8]))}; use"
      " lower-case letters, digits and underscores, starting with a letter, and"
      f" none of {', '.join(sorted(_TAKEN))}."
    )


def patients(texts: Texts) -> Int[np.ndarray, "n"] | None:
  """A number for each image's patient; None where no patient is known.

  Patients of two sets are not the same, whatever they are called. An image of
  an unknown patient has a number of its own.
  """
  names = texts.get(PATIENT, ())
  if not any(names):
    return None
  sets = texts.get(SET, ("",) * len(names))
  whose = [
    (one, name, -1 if name else row)
    for row, (one, name) in enumerate(zip(sets, names, strict=True))
  ]
  numbers = {who: number for number, who in enumerate(dict.fromkeys(whose))}
  return np.array([numbers[who] for who in whose], int)


def concatenate(
  parts: Sequence[Texts], counts: Sequence[int] | None = None
) -> dict[str, tuple[str, ...]]:
  """Columns of several parts after one another; empty where a part has none.

  Args:
    parts: columns by name, of each part.
    counts: images of each part; needed where a part may lack a column.
  """
  names = sorted({name for part in parts for name in part})
  sizes = counts or [len(next(iter(part.values()), ())) for part in parts]
  return {
    name: tuple(
      text
      for part, size in zip(parts, sizes, strict=True)
      for text in part.get(name, ("",) * size)
    )
    for name in names
  }


def make_codes(texts: Texts, names: Iterable[str]) -> dict[str, list[str]]:
  """The texts of each column in their order, as codes count them.

  Args:
    texts: columns by name.
    names: those that are wanted.

  Raises:
    UserError: the data has no such column.
  """
  names = list(names)
  if absent := sorted(set(names) - set(texts)):
    raise UserError(
      f"the method reads the columns {', '.join(absent)}, which the data set"
      f" has not; it has {', '.join(sorted(texts)) or 'none'}: build it from a"
      " source that names them, or set config.data.name to another set."
    )
  return {name: sorted(set(texts[name])) for name in names}


def encode(
  texts: Texts | None, codes: Codes, count: int
) -> dict[str, Int[np.ndarray, "n"]]:
  """Columns as whole numbers, int32; -1 for texts that no code stands for.

  Args:
    texts: columns by name; None where nothing is known of the images.
    codes: from `make_codes` of the training images; only its columns are
      encoded.
    count: of the images.
  """
  found = {}
  for name, known in codes.items():
    places = {text: code for code, text in enumerate(known)}
    column = (texts or {}).get(name, ("",) * count)
    found[name] = np.array([places.get(t, UNKNOWN) for t in column], np.int32)
  return found
