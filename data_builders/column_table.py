"""columns.csv of a source: what is known of its images beside the label."""

from collections import Counter
from collections.abc import Collection
import csv
import io
from pathlib import Path

from data_builders import notices
from medad_jax.data import columns
from medad_jax.types import UserError

NAME = "columns.csv"
_KEY = "name"  # the column that names an image, below the source's folder


def read(source: Path, images: Collection[str]) -> dict[str, dict[str, str]]:
  """The columns of the images that a source's table names.

  Args:
    source: the folder that may hold a table.
    images: names of all images, as the table has them.

  Returns:
    Texts by column, by image; empty without a table.

  Raises:
    UserError: the table is damaged, or names images that are not there.
  """
  path = source / NAME
  if not path.exists():
    return {}
  try:
    text = path.read_bytes().decode("utf-8-sig")
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    header, rows = table.fieldnames or (), list(table)
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(f"{path} is not CSV ({error}); restore it.") from error
  if _KEY not in header or len(set(header)) < len(header):
    raise UserError(
      f"the first line of {path} is {','.join(header)!r}; it must have a column"
      f" '{_KEY}' and others, each once."
    )
  columns.check((column for column in header if column != _KEY), str(path))
  _check_rows(path, rows, images)
  return {
    row.pop(_KEY): {column: text.strip() for column, text in row.items()}
    for row in rows
  }


def _check_rows(
  path: Path, rows: list[dict[str, str]], images: Collection[str]
) -> None:
  """Raises UserError unless every row is whole and names another image."""
  counts = Counter(row[_KEY] for row in rows)
  known = set(images)
  wrong = [
    f"{row[_KEY]}: {reason}"
    for row in rows
    for reason in [
      # Python's csv keeps further values under None, and fills up with None.
      "another number of values"
      if None in row or None in row.values()
      else "more than one line"
      if counts[row[_KEY]] > 1
      else None
      if row[_KEY] in known
      else "no such image"
    ]
    if reason
  ]
  if wrong:
    raise UserError(
      f"{len(wrong)} lines of {path} are wrong; every image may have one, under"
      " its path below the folder:\n" + notices.listed(wrong)
    )
