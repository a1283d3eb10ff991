"""The data of a search: a feed, rows to train on, and images to choose by."""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from pathlib import Path

import numpy as np

from medad_jax.data import (
  columns,
  feeds,
  folds,
  index,
  joined,
  joint,
  one_class,
  spec,
  store,
)
from medad_jax.engine import members, synthetic
from medad_jax.engine.devices import Devices
from medad_jax.engine.settings import Data
from medad_jax.types import Phase, Pool, Stage, UserError

# Of the images to choose by, in the order in which they are scored.
PARTS = ("validation", "synthetic", "normal", "anomalies")


@dataclasses.dataclass(frozen=True)
class Scored:
  """The images of a fold that are scored.

  Attributes:
    images: stored gray levels [n h w c], one part of `PARTS` after another.
    counts: of the parts.
    codes: of the columns that phases read, [n] each.
  """

  images: np.ndarray
  counts: tuple[int, ...]
  codes: Mapping[str, np.ndarray]

  def parts(self, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Scores [n ...] by the part that they are of."""
    ends = np.cumsum(self.counts)[:-1]
    return dict(zip(PARTS, np.split(scores, ends), strict=True))


@dataclasses.dataclass(frozen=True)
class Material:
  """The data of programs that see the same images.

  Attributes:
    feed: images that some fold trains on, or chooses by.
    pools: rows of the feed, by `members.rows_name` of pool and fold.
    columns: codes of the feed's rows.
    folds: the images to choose by.
  """

  feed: feeds.Feed
  pools: Mapping[str, np.ndarray]
  columns: Mapping[str, np.ndarray]
  folds: tuple[Scored, ...]


def material(
  data: Data, found: folds.Folds, stages: Sequence[Stage], devices: Devices
) -> Material:
  """Opens the training images of a set and divides them by folds.

  No test image is opened.

  Raises:
    UserError: the folds are of another set or of other images.
  """
  # The class is part of the name: folds of cifar10:3 are none of cifar10:5.
  if found.name != data.name:
    raise UserError(
      f"the folds are of {found.name} and data.name={data.name}; make some of"
      " this set with python -m data_builders.folds, or give them as --folds."
    )
  pools = {pool.name: pool for stage in stages for pool in stage.pools}
  used = {*index.splits_used(pools.values()), *found.splits}
  # In one order for all searches, as rows count the splits one after another.
  splits = tuple(name for name in store.SPLITS if name in used)
  dataset = _open(data, splits)
  found.check({name: dataset.splits[name].names for name in found.splits})
  sizes = [len(dataset.splits[name]) for name in splits]
  starts = dict(zip(splits, np.cumsum([0, *sizes]).tolist(), strict=False))
  images = joined.join([dataset.splits[name].images for name in splits])
  texts = columns.concatenate(
    [dataset.splits[name].columns for name in splits], sizes
  )
  read = {
    name for s in stages if isinstance(s, Phase) for name in s.inputs.columns
  }
  # Of all training images, so that programs of all folds agree on a code.
  codes = columns.make_codes(texts, sorted(read))
  numbers = columns.encode(texts, codes, len(images))
  rows: dict[str, np.ndarray] = {}
  for number, fold in enumerate(found.folds):
    own = _rows(pools, fold, found.source, starts, sizes)
    rows |= {members.rows_name(k, str(number)): v for k, v in own.items()}
  # The feed alone goes to the devices, so it holds no row that nobody sees.
  kept = np.unique(np.concatenate(list(rows.values())))
  feed_images = images if len(kept) == len(images) else images[kept]
  # Cores of a CPU that are devices share one memory.
  copies = len(devices.all) if devices.all[0].platform == "cpu" else 1
  middle = joined.center(images, data.image_size)
  return Material(
    feeds.choose(feed_images, data.feed, data.resident_mb, copies=copies),
    # `kept` is sorted, so a row's place in it is its row in the feed.
    {name: np.searchsorted(kept, own) for name, own in rows.items()},
    {name: values[kept] for name, values in numbers.items()},
    tuple(
      _scored(fold, found, middle, starts, numbers, data)
      for fold in found.folds
    ),
  )


def _open(data: Data, splits: Sequence[str]) -> spec.Dataset:
  # The built set, with all of its classes: another one gives the anomalies.
  return joint.open_sets(
    one_class.parse(data.name)[0],
    data.dir,
    image_size=data.stored,
    channels=data.channels,
    preparation=data.preparation,
    need=splits,
    known=data.known,
  )


def _rows(
  pools: Mapping[str, Pool],
  fold: folds.Fold,
  source: str,
  starts: Mapping[str, int],
  sizes: Sequence[int],
) -> dict[str, np.ndarray]:
  """Each pool's rows in a fold: what is trained on, and no anomaly of it."""
  of_splits = {}
  for (split, start), size in zip(starts.items(), sizes, strict=True):
    own = fold.train if split == folds.TRAIN else np.arange(size)
    # A method that trains on all images must not see what it is chosen
    # by. The order stays: a pool may take the first rows alone.
    if split == source:
      own = own[~np.isin(own, fold.anomalies)]
    of_splits[split] = own + start
  # Pools are counted in a set that has the fold's images and no others, so
  # that each takes what a run on such a set would take.
  counts = {split: len(own) for split, own in of_splits.items()}
  everything = np.concatenate(list(of_splits.values()))
  found = index.make_pools(pools.values(), counts)
  return {name: everything[rows] for name, rows in found.items()}


def _scored(
  fold: folds.Fold,
  found: folds.Folds,
  middle: joined.Rows,
  starts: Mapping[str, int],
  numbers: Mapping[str, np.ndarray],
  data: Data,
) -> Scored:
  first = starts[folds.TRAIN]
  validation, normal = fold.validation + first, fold.normal + first
  # Made of images that decide nothing else by then: the held-out normal ones
  # are for the anomalies alone.
  made, origins = synthetic.pasted(middle[validation])
  if found.files:
    few = _of_files(found, fold.anomalies, data)
    # Nothing is known of a file but its pixels.
    few_codes = {k: np.full(len(few), columns.UNKNOWN) for k in numbers}
  else:
    at = fold.anomalies + starts[found.source]
    few = middle[at]
    few_codes = {k: values[at] for k, values in numbers.items()}
  parts = [middle[validation], made, middle[normal], few]
  codes = {
    name: np.concatenate(
      [
        values[validation],
        values[validation][origins],
        values[normal],
        few_codes[name],
      ]
    ).astype(np.int32)
    for name, values in numbers.items()
  }
  counts = tuple(map(len, parts))
  return Scored(np.concatenate(parts), counts, codes)


def _of_files(
  found: folds.Folds, numbers: np.ndarray, data: Data
) -> np.ndarray:
  """Images of the folder of anomalies, as the set's own are prepared."""
  # Pillow: not needed where the anomalies are of the set.
  from medad_jax.augment import geometry
  from medad_jax.data import decode

  frame = decode.Frame(data.stored, data.channels, data.preparation)
  images, bad = [], []
  for number in numbers.tolist():
    path = Path(os.fspath(found.source)) / found.files[number]
    try:
      images.append(frame.image(path.read_bytes()))
    except (OSError, ValueError) as error:
      bad.append(f"{path.name} ({error})")
  if bad:
    raise UserError(
      f"{len(bad)} of {len(numbers)} anomalies in {found.source} cannot be read"
      f" ({', '.join(bad[:4])}); restore them, or make the folds again."
    )
  return geometry.center(np.stack(images), data.image_size)
