"""Messages of a builder about a source: lists of files, and warnings."""

from collections.abc import Sequence
import sys

_SHOWN = 20


def listed(lines: Sequence[str], shown: int = _SHOWN) -> str:
  """Indents the first `shown` lines, and counts the others."""
  more = len(lines) - shown
  rest = [f"... and {more} more"] if more > 0 else []
  return "\n".join(f"  {line}" for line in [*lines[:shown], *rest])


def warn(message: str) -> None:
  """Prints a warning; standard output is silenced while TFDS builds."""
  print(f"data_builders: warning: {message}", file=sys.stderr)
