"""The picture of an audit: test images above, their nearest ones below."""

from collections.abc import Mapping
import io
from pathlib import Path

from PIL import Image, ImageDraw

from data_builders import audit_images
from data_builders.audit_findings import Findings, Pairs
from data_builders.audit_images import Seen
from medad_jax.data import decode

_CELL = 96  # pixels an image
_TEXT = 14  # pixels of a line of text
_ACROSS = 8  # pairs of each kind


def pairs(
  folder: Path, seen: Mapping[str, Seen], found: Findings
) -> bytes | None:
  """A PNG file of some pairs of each kind; None where there are none.

  Args:
    folder: the set's.
    seen: of every split.
    found: what the audit found.
  """
  rows = [
    (
      f"{kind}: {test} above, {other} below ({len(own)} pairs)",
      test,
      other,
      own,
    )
    for kind, by in (("twins", found.twins), ("near duplicates", found.near))
    for test, other, own in _flat(by)
  ]
  if not rows:
    return None
  wanted: dict[str, set[int]] = {split: set() for split in seen}
  for _, test, other, own in rows:
    for one, another in _spread(own):
      wanted[test].add(one)
      wanted[other].add(another)
  pictures = {
    split: _read(folder, split, ids) for split, ids in wanted.items() if ids
  }
  height = 2 * _CELL + _TEXT
  sheet = Image.new("L", (_ACROSS * _CELL, len(rows) * height), 255)
  draw = ImageDraw.Draw(sheet)
  for at, (title, test, other, own) in enumerate(rows):
    draw.text((2, at * height), title, fill=0)
    for place, (one, another) in enumerate(_spread(own)):
      top = at * height + _TEXT
      sheet.paste(pictures[test][one], (place * _CELL, top))
      sheet.paste(pictures[other][another], (place * _CELL, top + _CELL))
  file = io.BytesIO()
  sheet.save(file, "PNG")
  return file.getvalue()


def _flat(by: Pairs):
  for test, others in by.items():
    for other, own in others.items():
      yield test, other, own


def _spread(own: list[tuple[int, int]]) -> list[tuple[int, int]]:
  """Some pairs from all over the list."""
  step = max(1, len(own) // _ACROSS)
  return own[::step][:_ACROSS]


def _read(folder: Path, split: str, ids: set[int]) -> dict[int, Image.Image]:
  found = {}
  for record in audit_images.records(folder, split):
    if (row := int(record["id"])) in ids:
      with decode.open_image(record["image"]) as picture:
        found[row] = picture.convert("L").resize((_CELL, _CELL))
  return found
