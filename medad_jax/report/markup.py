"""Parts of the page: tables and lists as HTML."""

from collections.abc import Iterable, Sequence
from html import escape
import re


def table(
  caption: str,
  header: Sequence[str],
  rows: Iterable[Sequence[str]],
  right: int = 0,
) -> str:
  """A table whose first column names its rows, the last `right` flush right."""

  def line(tags: Sequence[str], cells: Sequence[str]) -> str:
    kinds = [""] * (len(cells) - right) + [' class="right"'] * right
    marked = zip(tags, kinds, cells, strict=True)
    row = "".join(
      f"<{tag}{kind}>{cell}</{tag.split()[0]}>" for tag, kind, cell in marked
    )
    return f"<tr>{row}</tr>"

  width = len(header)
  head = line(['th scope="col"'] * width, header)
  # On a phone a row is a list, in which every value has its column's name.
  names = [re.sub("(<[^>]*>)+", "–", one).strip("–") for one in header]
  first = [
    'th scope="row"',
    *(f'td data-of="{name}"' for name in names[1:]),
  ]
  body = "\n".join(line(first, row) for row in rows)
  return (
    f'<div class="wide"><table><caption>{escape(caption)}</caption>'
    f"<thead>{head}</thead><tbody>{body}</tbody></table></div>"
  )


def pairs(caption: str, rows: Iterable[tuple[str, str]]) -> str:
  """A table of names and values."""
  body = "\n".join(
    f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
    for name, value in rows
  )
  return (
    f'<div class="wide"><table class="pairs"><caption>{escape(caption)}'
    f"</caption>{body}</table></div>"
  )


def bullets(items: Iterable[str]) -> str:
  """A list of sentences."""
  return (
    "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
  )
