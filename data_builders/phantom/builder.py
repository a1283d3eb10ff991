"""The built-in data set: generated slices, no download."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from data_builders import base, workers
from data_builders.phantom import scan


class Builder(base.SetBuilder, skip_registration=True):
  """Axial T1-like slices of generated heads; abnormal means a lesion.

  Anatomy, coil shading, contrast and noise vary; lesions are of six kinds,
  sizes and contrasts, with exact masks. No image comes from a patient.
  """

  # Normal and abnormal images of each split, numbered in this order.
  COUNTS: ClassVar[Mapping[str, tuple[int, int]]] = {
    "train": (1500, 0),
    "unlabelled_normal": (600, 0),
    "unlabelled_abnormal": (0, 900),
    "test": (500, 500),
  }

  def find(self) -> Mapping[str, list[base.Row]]:
    """Names that carry the scans' numbers; nothing is read."""
    splits, number = {}, 0
    for split, (normal, abnormal) in self.COUNTS.items():
      labels = [0] * normal + [1] * abnormal
      splits[split] = [
        base.Row(f"scan_{number + i:05}.png", label)
        for i, label in enumerate(labels)
      ]
      number += len(labels)
    return splits

  def has_masks(self) -> bool:
    """Every scan has a mask."""
    return True

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """Renders the rows in processes of their own."""
    jobs = [(_number(row), bool(row.label)) for row in rows]
    return workers.run(scan.encode, jobs)


def _number(row: base.Row) -> int:
  return int(Path(row.name).stem.removeprefix("scan_"))
