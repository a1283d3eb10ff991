"""The published folds of Shvetsova et al. (IEEE Access 2021) for built sets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_builders import dpa_lists, fold_images, folding, notices
from data_builders.fold_images import Images
from medad_jax.data import columns, folds, one_class
from medad_jax.types import UserError


def published(
  name: str,
  mode: str = "reference",
  *,
  data_dir: str | None = None,
  image_size: int = 64,
) -> folds.Folds:
  """The folds of DPA's authors, as rows of the built set.

  Some hold an image twice: those of camelyon16 test on what they train on, and
  those of nih_subset stop by what they test. "reference" keeps them and says
  so, "fixed" makes others, of the same anomalies.

  Args:
    name: of the built set, with its normal class if it has some.
    mode: "reference" or "fixed".
    data_dir: as for `make`, like `image_size`.
    image_size: pixels a side.

  Raises:
    UserError: none were published, or the set lacks images that they name.
  """
  built, normal_class = one_class.parse(name)
  known = built in dpa_lists.SETS
  if not known or (normal_class is None) == (built in dpa_lists.CLASSES):
    raise UserError(
      f"no folds were published of {name}; there are those of"
      f" {', '.join(f'{k}:0' for k in dpa_lists.CLASSES)} and the other"
      f" classes, and of {', '.join(dpa_lists.SETS[len(dpa_lists.CLASSES) :])}."
    )
  numbers = range(dpa_lists.FOLDS)
  lists = [dpa_lists.fold(built, normal_class, number) for number in numbers]
  few = dpa_lists.anomalies(built, normal_class)
  if overlap := _overlap(lists):
    print(f"data_builders: the published folds of {name}: {overlap}.")
    if mode == "fixed":
      by = "slide" if built == "camelyon16" else columns.PATIENT
      return folding.make(
        name,
        len(lists),
        by=by,
        anomalies=few,
        data_dir=data_dir,
        image_size=image_size,
      )
  normals = fold_images.normals(built, normal_class, data_dir, image_size)
  if built in dpa_lists.CLASSES:
    _check_order(name, lists, normals, few)
    source, others = folds.TRAIN, normals
    found = [folds.Fold(*map(np.array, one)) for one in lists]
  else:
    source, others = fold_images.few(built, None, normals, data_dir, image_size)
    found = _by_name(name, lists, normals, others)
  return folding.assembled(name, "published", source, normals, others, found)


def _overlap(lists: Sequence[dpa_lists.Lists]) -> str:
  """What published folds hold twice, in words; empty where nothing is."""
  found = []
  for number, one in enumerate(lists):
    tested = len({*one.train, *one.validation} & set(one.normal))
    if tested:
      found.append(f"fold {number} tests {tested:,} images that it trains with")
  return "; ".join(found)


def _check_order(name, lists, normals: Images, few: str) -> None:
  """Raises UserError unless rows have the classes that they should have."""
  classes = np.array(normals.columns[columns.CLASS])
  wanted = (*(one_class.parse(name)[1],) * 3, few.partition("=")[2])
  for one in lists:
    for rows, text in zip(one, wanted, strict=True):
      if max(rows) >= len(classes) or (classes[rows] != text).any():
        raise UserError(
          f"{name} has not the images that the published folds number, in their"
          " order; build it from the official files."
        )


def _by_name(name, lists, normals, few) -> list[folds.Fold]:
  places = [
    {Path(text).name: row for row, text in enumerate(images.names)}
    for images in (normals, normals, normals, few)
  ]
  absent = sorted(
    {
      text
      for one in lists
      for texts, at in zip(one, places, strict=True)
      for text in texts
      if text not in at
    }
  )
  if absent:
    raise UserError(
      f"{len(absent):,} images of the published folds are not in {name}; build"
      " it from all files:\n" + notices.listed(absent)
    )
  return [
    folds.Fold(
      *(
        np.array([at[text] for text in texts])
        for texts, at in zip(one, places, strict=True)
      )
    )
    for one in lists
  ]
