"""The values that all stages of a run share."""

from collections.abc import Callable, Mapping
import dataclasses
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from medad_jax.augment import views
from medad_jax.data import feeds, joined
from medad_jax.engine import members, program, writers
from medad_jax.engine.devices import Devices
from medad_jax.types import Method, Phase, TrainState

States = dict[str, TrainState]
# Fields that an older version lacks, and their defaults.
Newer = Mapping[tuple[type, str], Any]


@runtime_checkable
class Observer(Protocol):
  """An observer of a phase, which measures it while it trains."""

  def due(self, start: int, stop: int, last: int) -> bool:
    """True if a measurement is due after steps [start, stop) of `last`."""
    ...

  def measure(self, step: int, states: TrainState) -> None:
    """Measures the states of all members."""
    ...

  def chosen(self, states: TrainState) -> TrainState:
    """The states that the phase ends with, of its last ones."""
    ...

  def clear(self) -> None:
    """Removes what was remembered on the way."""
    ...


@dataclasses.dataclass(frozen=True)
class Run:
  """Values that all stages of a run share.

  Attributes:
    workdir: where checkpoints go.
    log: where metrics and messages go.
    feed: where batches come from.
    pools: rows of the feed by pool name.
    shape: [h, w, c] of an image that the method is fed.
    trials: each trains all members.
    devices: where programs run.
    steps_per_call: the most steps a compiled call takes.
    checkpoint_seconds: seconds between checkpoints; 0 for one every call.
    scoring_batch: images a call where nothing is trained.
    validate_every: epochs from one validation to the next.
    select: what a phase ends with: "last", "average", or a monitor's name for
      the states of its best value.
    keep_checkpoints: whether every validation keeps the states that it sees.
    data_text: identifies the pixels that are trained on.
    method: whose stages these are; its fields decide what they give.
    reuse: another run, whose finished stages are taken where they fit.
    newer: fields that this other run lacks.
    columns: codes of the columns that phases read, of all rows of the feed.
    method_of: the method with numbers of a trial in place, by field; None
      where trials differ in their seed alone.
    view: what training sees of the feed's images; None where it sees these.
    watch: makes what measures a phase, with the arguments of
      `validation.Validation`; None for that.
  """

  workdir: Path
  log: writers.Writers
  feed: feeds.Feed
  pools: Mapping[str, np.ndarray]
  shape: tuple[int, int, int]
  trials: members.Trials
  devices: Devices
  steps_per_call: int
  checkpoint_seconds: float
  scoring_batch: int = 64
  validate_every: int = 10
  select: str = "last"
  keep_checkpoints: bool = False
  data_text: str = ""
  method: Any = None
  reuse: Path | None = None
  newer: Newer = dataclasses.field(default_factory=dict)
  columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  method_of: Callable[[Mapping], Method] | None = None
  view: views.Views | None = None
  watch: Callable[..., Observer] | None = None

  @property
  def images(self) -> joined.Rows:
    """The feed's images as they are scored: the middle of larger ones."""
    return joined.center(self.feed.images, self.shape[0])

  def variant_of(self, name: str) -> program.Variant | None:
    """The phase of that name with numbers of a trial in place."""
    method_of = self.method_of
    if method_of is None:
      return None

    def variant(hyper) -> Phase:
      # Anew in every trace, as a phase's functions close over these numbers.
      stages = method_of(hyper).phases()
      found = next(stage for stage in stages if stage.name == name)
      assert isinstance(found, Phase)
      return found

    return variant
