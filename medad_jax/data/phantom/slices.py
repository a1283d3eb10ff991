"""The scans of the generated sets, and their files.

The sets need no source and no building: `spec` renders one into its cache when
it is first opened. `data_builders.phantom` writes the rows of the heads as
files.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from medad_jax.data import decode, store, workers
from medad_jax.data.phantom import scan

# Normal and abnormal images of each split, numbered in this order.
COUNTS: Mapping[str, tuple[int, int]] = {
  "train": (1500, 0),
  "unlabelled_normal": (600, 0),
  "unlabelled_abnormal": (0, 900),
  "test": (500, 500),
}

HEADS, CHESTS = "phantom", "phantom_chest"  # names of the sets
# By set, the columns of every image.
COLUMNS = {
  HEADS: {"organ": "brain", "modality": "MR"},
  CHESTS: {"organ": "chest", "modality": "CT"},
}

# Name and label of an image; the name carries the scan's number.
Row = tuple[str, int]


def counts(name: str = HEADS) -> dict[str, tuple[int, int]]:
  """Normal and abnormal images of each split; half as many of the chests."""
  parts = 1 if name == HEADS else 2
  return {split: (n // parts, m // parts) for split, (n, m) in COUNTS.items()}


def rows(name: str = HEADS) -> dict[str, list[Row]]:
  """The images of every split of a set, in order."""
  splits, number = {}, 0
  for split, (normal, abnormal) in counts(name).items():
    labels = [0] * normal + [1] * abnormal
    splits[split] = [
      (f"scan_{number + i:05}.png", label) for i, label in enumerate(labels)
    ]
    number += len(labels)
  return splits


def encode(
  wanted: Sequence[Row], organ: str = "brain"
) -> Iterator[tuple[bytes, bytes]]:
  """Renders images and masks as PNG files, in processes of their own."""
  jobs = [(_number(name), bool(label), organ) for name, label in wanted]
  return workers.run(scan.encode, jobs)


def render(
  split: str, frame: decode.Frame, name: str = HEADS
) -> tuple[dict[str, Any], str]:
  """Renders a split of a set at one size.

  Returns:
    images [n h w c], labels [n] int32, masks [n h w] bool, the tuple of
    names and the columns; and the fingerprint of the files, which a builder
    would record.
  """
  wanted, columns = rows(name)[split], COLUMNS[name]
  images, masks, digests = [], [], []
  title = f"rendering {split}"
  bar = tqdm.tqdm(
    encode(wanted, columns["organ"]),
    title,
    len(wanted),
    unit="image",
    disable=None,
  )
  for at, (row, (image, mask)) in enumerate(zip(wanted, bar, strict=True)):
    images.append(frame.image(image))
    masks.append(frame.mask(mask))
    digests.append(store.identity(at, *row, image, mask, columns))
  stored = {
    "images": np.stack(images),
    "labels": np.array([label for _, label in wanted], np.int32),
    "masks": np.stack(masks),
    "names": tuple(one for one, _ in wanted),
    "columns": {k: (text,) * len(wanted) for k, text in columns.items()},
  }
  return stored, store.fingerprint(digests)


def facts(
  fingerprints: Mapping[str, str], name: str = HEADS
) -> dict[str, dict]:
  """Counts and fingerprints of a set, as a builder would record them."""
  sums = {split: sum(both) for split, both in counts(name).items()}
  return {"counts": sums, "fingerprints": dict(fingerprints)}


def _number(name: str) -> int:
  return int(Path(name).stem.removeprefix("scan_"))
