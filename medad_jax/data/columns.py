"""Columns: what is known of an image beside its label.

A set holds texts; a step gets whole numbers, since arrays hold no texts.
"""

from collections.abc import Iterable, Mapping, Sequence
import re

from jaxtyping import Int
import numpy as np

from medad_jax.types import UserError

PATIENT = "patient"  # images of one patient are not independent
FINDING = "finding"  # the kind of abnormality that an image shows
CLASS = "class"  # of several, any of which may be called the normal one
SET = "set"  # the data set that an image is from; filled when sets are opened
# Splits that hold the same image as a test image, and nearly the same one, with
# spaces between; filled from a set's audit when it is opened.
TWIN, NEAR_TWIN = "twin", "near_twin"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
UNKNOWN = -1  # the code of a text that training did not see

# Names that a batch, or scores.csv, has for other things.
_TAKEN = frozenset(
  ("image", "label", "valid", "slot", "id", "source", "anatomy", "name")
  + (SET, TWIN, NEAR_TWIN)
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


def groups(texts: Texts) -> dict[str, Int[np.ndarray, "m"]]:
  """Rows whose results are of interest by themselves, in joined sets.

  They are those of each set, by its name, and those of each organ and
  modality, as "organ=chest". A column that tells the sets apart as they are is
  left out. There are none in one set alone.
  """
  sets = np.array(texts.get(SET, ()))
  names = dict.fromkeys(sets.tolist())
  if len(names) < 2:
    return {}
  found = {name: np.flatnonzero(sets == name) for name in names}
  for column in ("organ", "modality"):
    own = np.array(texts.get(column, ()))
    pairs = set(zip(own.tolist(), sets.tolist(), strict=False))
    known = [text for text in dict.fromkeys(own.tolist()) if text]
    if len(known) > 1 and len(pairs) > len(known):
      found |= {f"{column}={x}": np.flatnonzero(own == x) for x in known}
  return found


def without_twins(
  texts: Texts, splits: Iterable[str], count: int
) -> dict[str, Int[np.ndarray, "m"]]:
  """Rows of test images that no training image equals, or nearly equals.

  Args:
    texts: columns of the test images by name.
    splits: those that were trained on.
    count: of the test images.

  Returns:
    Rows by name, "without_twins" and "without_near_twins", the second without
    either; one that would leave out nothing is not there.
  """
  trained, left = set(splits), np.ones(count, bool)
  found = {}
  for column, name in (
    (TWIN, "without_twins"),
    (NEAR_TWIN, "without_near_twins"),
  ):
    of = [trained.isdisjoint(text.split()) for text in texts.get(column, ())]
    if of and not all(of):
      left = left & np.array(of)
      found[name] = np.flatnonzero(left)
  return found


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


def check_classes(
  texts: Texts, codes: Codes, limits: Mapping[str, int]
) -> None:
  """Checks columns whose texts are classes that a method tells apart.

  Args:
    texts: columns by name.
    codes: from `make_codes` of the same texts.
    limits: by column, how many classes the method is made for.

  Raises:
    UserError: some images have none, or there are more classes than that.
  """
  for name, limit in limits.items():
    if "" in codes[name]:
      sets = texts.get(SET, ("",) * len(texts[name]))
      pairs = zip(texts[name], sets, strict=True)
      lacking = sorted({one for text, one in pairs if not text})
      raise UserError(
        f"the method tells apart what the column {name} says, and images of"
        f" {', '.join(lacking) or 'the data set'} have none; set"
        f" config.data.{name} to the {name} of each set, or build the set from"
        " a source that names it."
      )
    if len(codes[name]) > limit:
      shown = ", ".join(list(codes[name])[:8])
      raise UserError(
        f"the column {name} has {len(codes[name])} texts ({shown}) and the"
        f" method is made for {limit}; set the method's number of them to"
        f" {len(codes[name])}."
      )


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
