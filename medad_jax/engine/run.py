"""What the phases of a run share."""

from collections.abc import Mapping
import dataclasses
from pathlib import Path

import numpy as np

from medad_jax.data import feeds
from medad_jax.engine import parallel, writers
from medad_jax.types import TrainState

States = dict[str, TrainState]


@dataclasses.dataclass(frozen=True)
class Run:
  """What all phases of a run share.

  Attributes:
    workdir: where checkpoints go.
    log: where metrics and messages go.
    feed: where batches come from.
    pools: rows of the feed by pool name.
    shape: an image's [h, w, c].
    seeds: seeds of everything random; each trains all members.
    layout: devices of the first phase; later ones are fitted to them.
    steps_per_call: steps a compiled call takes.
    checkpoint_seconds: seconds between checkpoints; 0 for one every call.
    scoring_batch: images a call where nothing is trained.
    validate_every: epochs from one validation to the next.
    select: whose states a phase ends with, the "last" or those of the best
      validation on "synthetic" anomalies.
  """

  workdir: Path
  log: writers.Writers
  feed: feeds.Feed
  pools: Mapping[str, np.ndarray]
  shape: tuple[int, int, int]
  seeds: tuple[int, ...]
  layout: parallel.Layout
  steps_per_call: int
  checkpoint_seconds: float
  scoring_batch: int = 64
  validate_every: int = 10
  select: str = "last"
