"""The data of a run, divided among the pools of its stages."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from medad_jax.data import alike, columns, feeds, index, joined, spec
from medad_jax.engine import cores, opening
from medad_jax.engine.devices import Devices
from medad_jax.engine.settings import Data, Settings
from medad_jax.types import Phase, Stage


@dataclasses.dataclass(frozen=True)
class Material:
  """Data that a run trains on and is tested with.

  Attributes:
    dataset: the splits that are trained on.
    feed: training images, the splits one after another.
    pools: rows of the feed by pool name, and those held out.
    texts: columns of the feed's rows by name.
    codes: of the columns that phases read.
  """

  dataset: spec.Dataset
  feed: feeds.Feed
  pools: Mapping[str, np.ndarray]
  texts: columns.Texts
  codes: columns.Codes

  @property
  def columns(self) -> Mapping[str, np.ndarray]:
    """Codes of the columns that phases read, of the feed's rows."""
    return columns.encode(self.texts, self.codes, len(self.feed.images))


def prepare(
  settings: Settings,
  stages: Sequence[Stage],
  devices: Devices,
  given: spec.Dataset | None = None,
) -> Material:
  """Opens the data and divides it among the pools of all stages.

  Args:
    settings: of the run.
    stages: of its method.
    devices: that it runs on.
    given: the set, where it is not one that the configuration names.

  Raises:
    UserError: the data are not there, or do not fit the method.
  """
  wanted = {pool.name: pool for stage in stages for pool in stage.pools}
  used = index.splits_used(wanted.values())
  # Test images are asked for, so that a run without them ends here, and let go:
  # until the evaluation nothing holds their labels.
  dataset = given or _without_tests(
    opening.open_data(settings.data, (*used, "test"))
  )
  counts = {name: len(dataset.splits[name]) for name in used}
  pools = index.make_pools(wanted.values(), counts)
  # One array for all splits: pools are rows of it, so members of different
  # pools share one feed.
  images = joined.join([dataset.splits[name].images for name in used])
  feed = _choose_feed(images, settings.data, devices)
  texts = columns.concatenate([dataset.splits[name].columns for name in used])
  inputs = [stage.inputs for stage in stages if isinstance(stage, Phase)]
  codes = columns.make_codes(
    texts, sorted({n for i in inputs for n in i.columns})
  )
  for one in inputs:
    limits = dict(zip(one.columns, one.classes, strict=False))
    columns.check_classes(texts, codes, limits)
  patients = columns.patients(texts)
  # Every image is read for it, which a run without divisions can spare.
  if settings.validation.share or any(pool.of > 1 for pool in wanted.values()):
    patients = alike.groups(images, patients)
  pools = index.hold_out(pools, settings.validation.share, patients)
  pools = index.fold(wanted.values(), pools, patients)
  if settings.data.sampling == "balanced":
    pools = {
      name: rows
      if name == index.HELD_OUT
      else index.balanced(rows, texts[columns.SET])
      for name, rows in pools.items()
    }
  return Material(dataset, feed, pools, texts, codes)


def _without_tests(dataset: spec.Dataset) -> spec.Dataset:
  kept = {k: v for k, v in dataset.splits.items() if not spec.is_test(k)}
  return dataclasses.replace(dataset, splits=kept)


def identity(dataset: spec.Dataset) -> dict[str, Any]:
  """Facts that tell a data set from another one of the same name."""
  facts = {"fingerprint": dataset.fingerprint, "counts": dict(dataset.counts)}
  return {dataset.name: facts}


def _choose_feed(
  images: joined.Rows, data: Data, devices: Devices
) -> feeds.Feed:
  """The feed of the training images that was asked for, or that fits."""
  copies = _copies(devices)
  return feeds.choose(
    images, data.feed, data.resident_mb, copies, data.workers or cores.usable()
  )


def _copies(devices: Devices) -> int:
  """Number of copies in one memory of what is on every device."""
  # Cores of a CPU that are devices share it.
  return len(devices.all) if devices.all[0].platform == "cpu" else 1
