"""Several data sets opened as one, to be trained and tested jointly."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import hashlib
import json
import os
from typing import Any

import numpy as np

from medad_jax.data import columns, joined, one_class, spec
from medad_jax.types import UserError

_TRAIN = "train"


def open_sets(
  names: str,
  data_dir: str | os.PathLike[str] | None = None,
  *,
  image_size: int,
  channels: int = 1,
  preparation: str = "stretch",
  need: Iterable[str] = spec.SPLITS,
  further_tests: bool = False,
  known: Mapping[str, str] | None = None,
  decoded: bool = True,
) -> spec.Dataset:
  """Opens one set or, of names with commas between, several as one.

  Every image has the column `set` with its set's name. Rows of the training
  splits are mixed in proportion to the sets' sizes, so that the first rows of a
  split hold the first rows of every set. Test images follow set after set.

  A set named with splits, `NAME@SPLIT+SPLIT`, trains on all images of these and
  tests on none: a protocol whose test images are of another set.

  Args:
    names: what the sets were built as, with commas between; of a set with
      classes, "cifar10:3" with the one that is normal (`one_class`).
    data_dir: as for `spec.open_dataset`, like all that follow.
    image_size: height and width, pixels.
    channels: 1 (gray) or 3 (RGB).
    preparation: of the pictures of all sets.
    need: the splits to open; each set must have all of them.
    further_tests: whether to open the splits named test_NAME that sets have.
    known: by column, its text for each set, with commas between; it takes the
      place of the sets' own column.
    decoded: as for `spec.open_dataset`; images that are mixed, or chosen by
      class, are decoded either way.

  Raises:
    UserError: a name is there twice, no set has a split that is needed, a
      column has a text for other than each set, or as `spec.open_dataset`.
  """
  each, need = _read_names(names), tuple(need)
  texts = _texts_of_sets(known or {}, [one.name for one in each])
  found = join(
    [
      _with_columns(
        one.open(
          need,
          further_tests,
          data_dir=data_dir,
          image_size=image_size,
          channels=channels,
          preparation=preparation,
          decoded=decoded,
        ),
        {column: of_sets[at] for column, of_sets in texts.items()},
      )
      for at, one in enumerate(each)
    ]
  )
  _check_splits(names, found, need)
  return found


def _read_names(names: str) -> "list[_Named]":
  each = [_Named(name) for name in names.split(",")]
  if len({one.name for one in each}) < len(each):
    raise UserError(
      f"data.name='{names}' names a set more than once; name each once."
    )
  return each


def _check_splits(names: str, found: spec.Dataset, need: Sequence[str]) -> None:
  if absent := [name for name in need if name not in found.splits]:
    raise UserError(
      f"data.name='{names}' leaves no set with {', '.join(absent)}; name one"
      " without splits after an @."
    )


class _Named:
  """A set of `data.name`: NAME, or NAME@SPLIT+SPLIT for training alone.

  Attributes:
    name: what the set was built as, and the class that is normal where the
      name has one.
    training: the splits whose images all train; empty for an ordinary set.
  """

  def __init__(self, text: str):
    self.name, at, splits = (part.strip() for part in text.partition("@"))
    self.training = tuple(part.strip() for part in splits.split("+") if part)
    if at and not self.training:
      raise UserError(
        f"data.name has '{text}'; name the splits that train after the @, as"
        " in ixi@train+val+test."
      )

  def open(
    self, need: Sequence[str], further_tests: bool, **how: Any
  ) -> spec.Dataset:
    """The set with the splits that are needed, or with one that trains.

    Args:
      need: the splits of an ordinary set.
      further_tests: whether an ordinary set has further ones.
      **how: for `spec.open_dataset`.
    """
    if not self.training:
      return self._open(need, further_tests, how)
    wanted = self.training if _TRAIN in need else ()
    found = self._open(wanted, False, how)
    parts = [found.splits[name] for name in found.splits]
    decisive = [found.fingerprint, self.training]
    return spec.Dataset(
      found.name,
      {_TRAIN: _concatenated(parts, mixed=True)} if parts else {},
      hashlib.sha256(json.dumps(decisive).encode()).hexdigest(),
      {_TRAIN: sum(found.counts.get(name, 0) for name in self.training)},
    )

  def _open(self, need, further_tests, how) -> spec.Dataset:
    built, normal = one_class.parse(self.name)
    found = spec.open_dataset(
      built, need=need, further_tests=further_tests, **how
    )
    return one_class.select(found, normal)


def join(sets: Sequence[spec.Dataset]) -> spec.Dataset:
  """One set of several, each row with its set's name as the column `set`.

  A column that a set lacks is empty there. Splits have masks, and healthy
  pixels, where all their sets have some. The fingerprint is over all sets, in
  their order; that of a single one stays.

  Raises:
    UserError: results of a set and of a further test set would have one name.
  """
  further = {name for one in sets for name in one.splits}
  twice = [one.name for one in sets if f"test_{one.name}" in further]
  if len(sets) > 1 and twice:
    raise UserError(
      f"{', '.join(twice)} is both a set and, as test_{twice[0]}, a further"
      " test set of one; build one of them under another --name."
    )
  splits = {}
  for split in dict.fromkeys(name for one in sets for name in one.splits):
    parts = [_named(one, split) for one in sets if split in one.splits]
    splits[split] = _concatenated(parts, mixed=not split.startswith("test"))
  counts = {
    split: sum(one.counts.get(split, 0) for one in sets)
    for split in dict.fromkeys(name for one in sets for name in one.counts)
  }
  fingerprint = sets[0].fingerprint
  if len(sets) > 1:
    all_ = [[one.name, one.fingerprint] for one in sets]
    fingerprint = hashlib.sha256(json.dumps(all_).encode()).hexdigest()
  name = ",".join(one.name for one in sets)
  audits = {k: audit for one in sets for k, audit in one.audits.items()}
  return spec.Dataset(name, splits, fingerprint, counts, audits)


def _texts_of_sets(
  known: Mapping[str, str], sets: Sequence[str]
) -> dict[str, list[str]]:
  """The text of each set, by column."""
  found = {
    name: [text.strip() for text in texts.split(",")]
    for name, texts in known.items()
  }
  for name, texts in found.items():
    if len(texts) != len(sets) or not all(texts):
      raise UserError(
        f"data.{name}='{known[name]}' was given for {len(sets)} sets; give one"
        f" {name} for each of {', '.join(sets)}, with commas between."
      )
  return found


def _with_columns(one: spec.Dataset, texts: Mapping[str, str]) -> spec.Dataset:
  """The set with the same text for all its images in some columns."""
  splits = {
    name: dataclasses.replace(
      split,
      columns={
        **split.columns,
        **{column: (text,) * len(split) for column, text in texts.items()},
      },
    )
    for name, split in one.splits.items()
  }
  return dataclasses.replace(one, splits=splits)


def _named(one: spec.Dataset, split: str) -> spec.Split:
  found = one.splits[split]
  known = {**found.columns, columns.SET: (one.name,) * len(found)}
  return dataclasses.replace(found, columns=known)


def _concatenated(parts: Sequence[spec.Split], mixed: bool) -> spec.Split:
  """The rows of all parts: one after another, or mixed in proportion."""
  if len(parts) == 1:
    return parts[0]  # perhaps a map of a file, which stays one
  sizes = [len(part) for part in parts]
  order = _mixed(sizes) if mixed else np.arange(sum(sizes))
  masks = [part.masks for part in parts if part.masks is not None]
  healthy = [part.healthy for part in parts if part.healthy is not None]
  texts = columns.concatenate([part.columns for part in parts], sizes)
  names = [name for part in parts for name in part.names]
  return spec.Split(
    images=_placed([part.images for part in parts], order),
    labels=_placed([part.labels for part in parts], order),
    names=tuple(names[row] for row in order),
    masks=_placed(masks, order) if len(masks) == len(parts) else None,
    columns={k: tuple(v[row] for row in order) for k, v in texts.items()},
    healthy=_placed(healthy, order) if len(healthy) == len(parts) else None,
  )


def _mixed(sizes: Sequence[int]) -> np.ndarray:
  """Rows of parts after one another, so that a prefix has its share of each."""
  at = np.concatenate([(np.arange(n) + 0.5) / n for n in sizes])
  return np.argsort(at, kind="stable")


def _placed(parts: Sequence[joined.Rows], order: np.ndarray) -> np.ndarray:
  """Row order[i] of the parts as row i; each part is read once."""
  places = np.argsort(order)
  first = parts[0]
  found = np.empty((len(order), *first.shape[1:]), first.dtype)
  start = 0
  for part in parts:
    found[places[start : start + len(part)]] = part
    start += len(part)
  return found
