"""Cells of tables that hold texts of others: names of files, and patients.

A spreadsheet takes a cell that begins with "=", "+", "-" or "@" for a formula,
and a file's name or a PatientID may be anything. Such a name gets "./" in
front, which leaves it a path of the same file. Any other text gets an
apostrophe, as OWASP recommends ("CSV Injection"). What is read back is what was
written.
"""

import re

# The last four are the full-width forms, which some spreadsheets take, too.
_FORMULA = "[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
# One with apostrophes of its own gets one more, so that one can be taken off.
_TO_MARK, _MARKED = re.compile(f"'*{_FORMULA}"), re.compile(f"'+{_FORMULA}")
_TO_PREFIX, _PREFIXED = re.compile(_FORMULA), re.compile(rf"\./{_FORMULA}")


def of_path(name: str) -> str:
  """The cell of a relative path: `./=x.png` for `=x.png`."""
  return f"./{name}" if _TO_PREFIX.match(name) else name


def path(cell: str) -> str:
  """The relative path of a cell."""
  return cell[2:] if _PREFIXED.match(cell) else cell


def of_text(text: str) -> str:
  """The cell of any other text: `'=x` for `=x`."""
  return f"'{text}" if _TO_MARK.match(text) else text


def text(cell: str) -> str:
  """The text of a cell."""
  return cell[1:] if _MARKED.match(cell) else cell
