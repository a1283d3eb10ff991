"""Division of a set's images into folds."""

from collections.abc import Sequence

import numpy as np

from data_builders import fold_images
from data_builders.fold_images import Images
from medad_jax.data import alike, columns, folds, one_class
from medad_jax.types import UserError

VALIDATION = 0.2  # of what is not held out, as published


def make(
  name: str,
  count: int,
  *,
  by: str | None = None,
  anomalies: str | None = None,
  most: int | None = None,
  seed: int = 0,
  data_dir: str | None = None,
  image_size: int = 64,
) -> folds.Folds:
  """Divides a set's training images into folds.

  Args:
    name: of the built set, with its normal class if it has some.
    count: of the folds.
    by: a column whose equal texts stay in one fold; None for patients where
      they are known, and for single images elsewhere.
    anomalies: COLUMN=TEXT,TEXT or a folder; None for the set's abnormal images
      outside the test set or, where it has classes, for another class.
    most: anomalies of a fold; None for all.
    seed: another one draws other folds.
    data_dir: where sets are; None for the usual place.
    image_size: pixels a side at which images are compared.

  Raises:
    UserError: there is no such set or column, or too few images.
  """
  if count < 2:
    raise UserError(f"-n {count} was given; set it to 2 folds or more.")
  built, normal_class = one_class.parse(name)
  normals = fold_images.normals(built, normal_class, data_dir, image_size)
  if anomalies is None and normal_class is not None:
    anomalies = f"class={_another(normals, normal_class)}"
  source, few = fold_images.few(built, anomalies, normals, data_dir, image_size)
  normals, few = fold_images.without_tests(
    built, source, normals, few, data_dir, image_size
  )
  if by is None and any(normals.columns.get(columns.PATIENT, ())):
    by = columns.PATIENT
  draw = np.random.RandomState(seed)
  parts = _parts(normals, count, by, draw, "normal images")
  own = by if by in few.columns else None
  given = _parts(few, count, own, draw, "anomalies")
  found = []
  for number, held in enumerate(parts):
    rest = np.concatenate([p for k, p in enumerate(parts) if k != number])
    train, validation = _divided(normals, rest, by, draw)
    found.append(folds.Fold(train, validation, held, given[number][:most]))
  what = anomalies or fold_images.ABNORMAL
  origin = f"by {by or 'image'}, anomalies {what}, seed {seed}"
  return assembled(name, origin, source, normals, few, found)


def assembled(
  name: str,
  origin: str,
  source: str,
  normals: Images,
  few: Images,
  found: Sequence[folds.Fold],
) -> folds.Folds:
  """The folds with what tells whether their rows still mean the same.

  Args:
    name: of the set, with its normal class if it has one.
    origin: how the folds were made, in words.
    source: the split or folder of the anomalies.
    normals: the training images.
    few: the anomalies.
    found: the folds.
  """
  digests = {folds.TRAIN: folds.digest_of(normals.names)}
  in_folder = source not in (folds.TRAIN, fold_images.ABNORMAL)
  if not in_folder:
    digests[source] = folds.digest_of(few.names)
  return folds.Folds(
    name, digests, origin, source, few.names if in_folder else (), tuple(found)
  )


def _another(normals: Images, normal_class: str) -> str:
  """The class that follows the normal one."""
  classes = sorted(set(normals.columns[columns.CLASS]))
  return classes[(classes.index(normal_class) + 1) % len(classes)]


def _groups(images: Images, rows: np.ndarray, by: str | None) -> np.ndarray:
  """The group of each row: of equal texts, or of equal pixels, in one fold."""
  if by is None:
    return alike.groups(images.pixels[rows], None)
  texts = images.columns.get(by)
  if texts is None:
    raise UserError(
      f"--by={by} names no column of the set; it has"
      f" {', '.join(sorted(images.columns)) or 'none'}."
    )
  # An unknown text is one's own, as an unknown patient is.
  own = np.array([texts[row] or f"row {row}" for row in rows])
  _, numbers = np.unique(own, return_inverse=True)
  return alike.groups(images.pixels[rows], numbers)


def _parts(images, count, by, draw, what) -> list[np.ndarray]:
  """Rows in parts of about one size, groups kept together."""
  own = _groups(images, images.rows, by)
  groups = draw.permutation(np.unique(own))
  if len(groups) < count:
    raise UserError(
      f"{len(images.rows)} {what} make {len(groups)} groups by {by or 'image'},"
      f" and {count} folds need one each; lower -n, or choose another --by."
    )
  sizes = dict(zip(*np.unique(own, return_counts=True), strict=True))
  # The largest first, each to the part that is smallest so far.
  groups = sorted(groups, key=lambda group: -sizes[group])
  filled, of = [0] * count, {}
  for group in groups:
    of[group] = int(np.argmin(filled))
    filled[of[group]] += sizes[group]
  numbers = np.array([of[group] for group in own])
  return [images.rows[numbers == number] for number in range(count)]


def _divided(images, rows, by, draw) -> tuple[np.ndarray, np.ndarray]:
  """Rows to train on and to validate with, groups kept together."""
  own = _groups(images, rows, by)
  groups = draw.permutation(np.unique(own))
  taken, count = [], 0
  for group in groups[:-1]:  # one is left to train on
    if count >= VALIDATION * len(rows):
      break
    taken.append(group)
    count += int(np.sum(own == group))
  held = np.isin(own, taken)
  if not held.any():
    raise UserError(
      f"{len(rows)} normal images are one group by {by}; a fold needs several:"
      " choose another --by, or raise -n."
    )
  return rows[~held], rows[held]
