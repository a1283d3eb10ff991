"""Images that folds may hold: normal ones and a few anomalies."""

from collections.abc import Iterable, Mapping
import dataclasses
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from data_builders import folders, notices
from medad_jax import files
from medad_jax.data import columns, decode, folds, spec
from medad_jax.types import UserError

ABNORMAL = "unlabelled_abnormal"


@dataclasses.dataclass(frozen=True)
class Images:
  """Images that a fold may hold.

  Attributes:
    names: of all of them.
    pixels: [n h w c], to compare.
    columns: what is known of them.
    rows: those that are meant, in order.
  """

  names: tuple[str, ...]
  pixels: np.ndarray
  columns: Mapping[str, tuple[str, ...]]
  rows: np.ndarray

  def without(self, rows: Iterable[int]) -> "Images":
    """The same but for some rows."""
    left = self.rows[~np.isin(self.rows, list(rows))]
    return dataclasses.replace(self, rows=left)


def normals(built, normal_class, data_dir, image_size) -> Images:
  """The training images, of which the normal ones are meant."""
  split = _open(built, data_dir, image_size).splits[folds.TRAIN]
  meant = np.asarray(split.labels) == 0
  if normal_class is not None:
    classes = split.columns.get(columns.CLASS, ())
    if normal_class not in classes:
      there = ", ".join(sorted(set(classes))) or "none"
      raise UserError(
        f"{built}:{normal_class} names the class '{normal_class}', and {built}"
        f" has the classes {there}; name one of them."
      )
    meant &= np.array(classes) == normal_class
  return _images(split, np.flatnonzero(meant))


def few(built, anomalies, normals, data_dir, image_size) -> tuple[str, Images]:
  """The anomalies that are meant, and the split or folder they are from."""
  if anomalies is not None and "=" not in anomalies:
    folder = files.expanded(anomalies).absolute()
    return str(folder), _in_folder(folder, image_size)
  column, _, text = (anomalies or "").partition("=")
  dataset = _open(built, data_dir, image_size)
  sources = {folds.TRAIN: normals} if column == columns.CLASS else {}
  if dataset.counts.get(ABNORMAL):
    split = _open(built, data_dir, image_size, ABNORMAL).splits[ABNORMAL]
    sources[ABNORMAL] = _images(split)
  if anomalies is None and ABNORMAL in sources:
    return ABNORMAL, sources[ABNORMAL]
  for source, images in sources.items():
    texts = np.array(images.columns.get(column, ("",) * len(images.names)))
    rows = np.flatnonzero(np.isin(texts, text.split(",")))
    if len(rows):
      return source, dataclasses.replace(images, rows=rows)
  known = sorted({name for i in sources.values() for name in i.columns})
  raise UserError(
    f"{built} has no anomalies outside its test set"
    f" {f'with {anomalies}' if anomalies else 'to choose by'}; give"
    " --anomalies=COLUMN=TEXT with a column of"
    f" {', '.join(known) or 'it (there is none)'}, or a folder of images."
  )


def _in_folder(folder: Path, image_size: int) -> Images:
  if not folder.is_dir():
    raise UserError(
      f"--anomalies={folder} is no folder; give one that holds images, or"
      " COLUMN=TEXT."
    )
  frame, pixels, names, bad = decode.Frame(image_size, 1), [], [], []
  for path in folders.read(folder).images:
    name = path.relative_to(folder).as_posix()
    try:
      pixels.append(frame.image(path.read_bytes()))
      names.append(name)
    except (OSError, ValueError, UnidentifiedImageError) as error:
      bad.append(f"{name}: {error}")
  if bad or not names:
    raise UserError(
      f"{len(bad)} of {len(bad) + len(names)} images in {folder} can be no"
      " anomalies; mend or remove them:\n" + notices.listed(bad)
      if bad
      else f"{folder} holds no images; give a folder that does."
    )
  rows = np.arange(len(names))
  return Images(tuple(names), np.stack(pixels), {}, rows)


def without_tests(
  built, source, normals, few, data_dir, image_size
) -> tuple[Images, Images]:
  """The same without copies of test images; a folder must hold none."""
  counts = _open(built, data_dir, image_size).counts
  names = [name for name in counts if spec.is_test(name)]
  splits = _open(built, data_dir, image_size, *names).splits if names else {}
  tests = {image.tobytes() for name in names for image in splits[name].images}

  def copies(images: Images) -> list[int]:
    # By their pixels: a folder may have other names.
    rows = images.rows.tolist()
    return [row for row in rows if images.pixels[row].tobytes() in tests]

  there, given = copies(normals), copies(few)
  if given and source not in (folds.TRAIN, ABNORMAL):
    raise UserError(
      f"{len(given)} of {len(few.rows)} images in {source} are test images of"
      f" {built}, and a fold must hold none; remove them:\n"
      + notices.listed([few.names[row] for row in given])
    )
  if there or given:
    print(
      f"data_builders: {len(there) + len(given)} images of {built} are copies"
      " of test images and left out of the folds."
    )
  return normals.without(there), few.without(given)


def _open(built, data_dir, image_size, *splits: str) -> spec.Dataset:
  return spec.open_dataset(
    built, data_dir, image_size=image_size, need=splits or (folds.TRAIN,)
  )


def _images(split: spec.Split, rows: np.ndarray | None = None) -> Images:
  rows = np.arange(len(split)) if rows is None else rows
  return Images(split.names, split.images, split.columns, rows)
