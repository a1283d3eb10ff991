"""Pictures of several runs' maps of the same test images, side by side.

  python -m benchmarks.maps runs/ra runs/ae --set=lesions \
      --picture=maps.png

Rows are not selected by hand: normal images of the main test set and abnormal
ones of a test set, of both those from the lowest to the highest score of the
first run. Columns are the image, its mask, and of each run the reconstruction,
where it has one, and the map of its headline. A map has one color scale for all
rows, which ends where the brightest 0.5 % of the shown pixels begin.
"""

import argparse
from collections.abc import Sequence
import io
from pathlib import Path
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image

from medad_jax import files
from medad_jax.data import alike, spec
from medad_jax.engine import opening, scorer, trained
from medad_jax.report import draw, figures
from medad_jax.types import UserError

_BRIGHT = 0.995  # quantile of the shown pixels, where a map's scale ends


class Judged(NamedTuple):
  """Test images and what a run makes of them.

  Attributes:
    run: the run's name.
    headline: name of its last score.
    images: normal images of one split, abnormal ones of the same or another.
    labels: 0 normal, 1 abnormal.
    names: of the images.
    masks: True on the lesion; None where the set has none.
    found: the run's scores.
  """

  run: str
  headline: str
  images: np.ndarray
  labels: np.ndarray
  names: tuple[str, ...]
  masks: np.ndarray | None
  found: scorer.Scored

  @property
  def scores(self) -> np.ndarray:
    """The headline of every image, of the first training."""
    return self.found.scores.image[self.headline][:, 0]


def judge(run: Path, further: str | None) -> Judged:
  """Scores the test images of a run.

  Args:
    run: folder of a finished run.
    further: the test set of the abnormal images; None for the main one.

  Raises:
    UserError: the run is not finished, its headline has no map, or its data
      have no such test set.
  """
  model = trained.Trained.load(run)
  splits = _splits(model)
  name = f"test_{further}" if further else "test"
  if name not in splits:
    raise UserError(
      f"--set={further} was given, but the test sets of {run} are"
      f" {', '.join(sorted(splits))}; name one of them without 'test_'."
    )
  # A further set may have no normal images: those of the main one stand in.
  parts = [(splits["test"], 0), (splits[name], 1)]
  rows = [np.flatnonzero(part.labels == label) for part, label in parts]
  marks = [
    part.masks[at]
    for (part, _), at in zip(parts, rows, strict=True)
    if part.masks is not None
  ]
  masks = np.concatenate(marks) if len(marks) == len(parts) else None
  images = np.concatenate(
    [part.images[at] for (part, _), at in zip(parts, rows, strict=True)]
  )
  found = model.score(images)
  headline = model.method.score_names[-1]
  if headline not in found.scores.maps:
    raise UserError(
      f"{headline}, the headline of {run}, has no map; leave this run out."
    )
  return Judged(
    run.name,
    headline,
    images,
    np.repeat([0, 1], [len(at) for at in rows]),
    tuple(
      part.names[row]
      for (part, _), at in zip(parts, rows, strict=True)
      for row in at
    ),
    masks,
    found,
  )


def columns(
  judged: Sequence[Judged],
) -> tuple[list[int], dict[str, np.ndarray]]:
  """Rows that are shown, and what is shown of them by the column's title.

  Raises:
    UserError: the runs have different test images, or show other parts of them.
  """
  first = judged[0]
  if others := [j.run for j in judged if j.names != first.names]:
    raise UserError(
      f"{', '.join(others)} and {first.run} have different test images; give"
      " runs of one set."
    )
  rows = draw.gallery_rows(first.labels, first.scores)
  # A generated set has other images of the same names at another size.
  pictures = _thumbnails(first, rows)
  for other in judged[1:]:
    likeness = (pictures * _thumbnails(other, rows)).sum(1)
    if (likeness < alike.NEAR).any():
      name = first.names[rows[int(likeness.argmin())]]
      raise UserError(
        f"{name} is one picture to {first.run} and another to {other.run}; give"
        " runs of one set, whose images are cut alike."
      )
  shown = {"image": first.images[rows] / 255}
  if first.masks is not None:
    shown["mask"] = first.masks[rows].astype(float)[..., None]
  for one in judged:
    scores = one.found.scores
    if scores.reconstruction is not None:
      x_hat = scores.reconstruction[rows, 0]
      shown[f"{one.run}: x_hat"] = np.clip(x_hat / 2 + 0.5, 0, 1)
    maps = scores.maps[one.headline][rows, 0]
    # A few glaring pixels would leave all others black.
    limit = np.quantile(maps, _BRIGHT)
    shown[f"{one.run}: {one.headline}"] = np.minimum(maps, limit)
  return rows, shown


def main(argv: list[str] | None = None) -> int:
  """The command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.maps", description=__doc__.splitlines()[0]
  )
  parser.add_argument("runs", type=Path, nargs="+")
  parser.add_argument("--set", help="test set of the abnormal images")
  parser.add_argument("--picture", type=Path, required=True)
  args = parser.parse_args(argv)
  try:
    judged = [judge(files.expanded(run), args.set) for run in args.runs]
    rows, shown = columns(judged)
    sheet = _reduced(figures.contact_sheet(shown))
    files.write(files.expanded(args.picture), sheet)
  except UserError as error:
    print(f"maps: {error}", file=sys.stderr)
    return 2
  for row in rows:
    scores = ", ".join(f"{one.run} {one.scores[row]:.3g}" for one in judged)
    print(f"{judged[0].names[row]}: {scores}")
  return 0


def _reduced(picture: bytes) -> bytes:
  """The PNG file with 256 colors: a quarter of its bytes."""
  made = io.BytesIO()
  with Image.open(io.BytesIO(picture)) as opened:
    few = opened.convert("RGB").quantize(256, dither=Image.Dither.NONE)
  few.save(made, "png", optimize=True)
  return made.getvalue()


def _thumbnails(judged: Judged, rows: Sequence[int]) -> np.ndarray:
  """Small pictures of rows, [n d], whose products are their likeness."""
  return np.stack([alike.thumbnail(judged.images[row]) for row in rows])


def _splits(model: trained.Trained) -> dict[str, spec.Split]:
  """The test sets of a model's data, as it scores them."""
  data = model.settings.data
  found = opening.open_data(data, ("test",)).splits
  # Stored images may be larger, of which the middle is scored.
  return {name: one.center(data.image_size) for name, one in found.items()}


if __name__ == "__main__":
  sys.exit(main())
