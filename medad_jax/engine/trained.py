"""A trained model as an object that can be loaded and asked."""

from collections.abc import Iterable, Iterator, Mapping
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medad_jax import files
from medad_jax.data import columns, joined
from medad_jax.engine import config as configuration
from medad_jax.engine import cores, members, scorer
from medad_jax.engine.devices import Devices
from medad_jax.engine.settings import Settings
from medad_jax.engine.workdir import Workdir
from medad_jax.types import Method, Phase, Stage, TrainState, UserError


@dataclasses.dataclass(frozen=True)
class Trained:
  """A method with its final states.

  It scores the test set right after training, and answers everything that is
  asked later, with one program on one mesh: the same bits on the same machine.

  Attributes:
    config: the run's configuration, as config.json has it.
    method: what scores.
    states: its final states by stage, members first, trial after trial.
    devices: the run's.
    codes: texts of the columns that the method reads, as codes count them.
  """

  config: Mapping[str, Any]
  method: Method
  states: Mapping[str, TrainState]
  devices: Devices
  codes: columns.Codes = dataclasses.field(default_factory=dict)

  @classmethod
  def load(cls, workdir: Path | str) -> "Trained":
    """The model of a finished run, from its folder alone.

    It should come before anything asks JAX for its devices: a CPU then has
    those that the training made. On others scores differ in their last digits,
    as sums round differently.

    Raises:
      UserError: there is no finished run.
    """
    folder = Workdir(files.expanded(workdir))
    config = folder.config()
    settings = configuration.settings_of(config)
    method = configuration.build_method(config)
    stages = stages_of(settings, method)
    devices = devices_of(settings, stages)
    # After the devices: placing an array would fix their number.
    states = scorer.restore(
      stages, _trials(settings), settings.data.shape, folder.path
    )
    return cls(config, method, states, devices, folder.codes())

  @property
  def trials(self) -> members.Trials:
    """Each training whose states these are."""
    return _trials(self.settings)

  @property
  def shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that it scores."""
    return self.settings.data.shape

  def score(
    self, images: joined.Rows, texts: columns.Texts | None = None
  ) -> scorer.Scored:
    """All that the model makes of images, on the host.

    Args:
      images: gray levels [n h w c] of the run's size, channels and type (uint8
        or, of a preparation that ends with `shrink`, float32); at least one.
      texts: columns of the images by name, for methods that read some; what
        is absent or was not trained with has the code -1.

    Returns:
      Scores, maps, reconstructions and latents, each [n s ...] with the
      trainings s in the order of `trials`.

    Raises:
      UserError: the images are of another kind.
    """
    parts = [
      scorer.on_host(x, count) for count, x in self.batches(images, texts)
    ]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)

  def batches(
    self, images: joined.Rows, texts: columns.Texts | None = None
  ) -> Iterator[tuple[int, scorer.Scored]]:
    """Yields (count, results) of images and columns as in `score`.

    Raises:
      UserError: the images are of another kind, or the run stopped before a
        stage that all scores need.
    """
    kind = np.dtype(self.settings.data.dtype)
    shape = self.shape
    if images.dtype != kind or images.shape[1:] != shape or not len(images):
      raise UserError(
        f"{images.dtype} images of shape {images.shape} were given to a model"
        f" of {kind} images of shape {('n', *shape)}; prepare them as its"
        " training images were, and give one or more."
      )
    # Which scores need which stages is the method's knowledge, and shows in the
    # first batch.
    absent = {s.name for s in self.method.phases()} - self.states.keys()
    try:
      codes = columns.encode(texts, self.codes, len(images))
      yield from self._scorer.batches(images, codes)
    except KeyError as error:
      if error.args[0] not in absent:
        raise
      raise UserError(
        f"the run stopped after until='{self.settings.until}', and its scores"
        f" need the stage {error}; run the same command without until."
      ) from error

  @functools.cached_property
  def settings(self) -> Settings:
    """The run's settings."""
    return configuration.settings_of(self.config)

  @functools.cached_property
  def _scorer(self) -> scorer.Scorer:
    return scorer.Scorer(
      self.method,
      self.states,
      self.settings.evaluation.batch_size,
      self.devices,
      len(self.trials),
    )


def devices_of(settings: Settings, stages: Iterable[Stage]) -> Devices:
  """The devices as the user wants them, checked against the largest phase.

  Raises:
    UserError: they do not fit.
  """
  phases = [stage for stage in stages if isinstance(stage, Phase)]
  largest = max(phases, key=lambda phase: phase.members, default=None)
  # The largest phase decides into how many devices a CPU is split; the others
  # use some of them.
  count = settings.seeds * (largest.members if largest else 1)
  devices = cores.devices(
    count,
    mode=settings.parallel,
    member=settings.mesh.member,
    batch=settings.mesh.batch,
  )
  if largest is not None:
    devices.check(count, largest.length.batch_size)
  return devices


def stages_of(settings: Settings, method: Method) -> tuple[Stage, ...]:
  """A run's stages: the method's, up to the one it stops after.

  Raises:
    UserError: there is no such stage.
  """
  stages, last = tuple(method.phases()), settings.until
  names = [stage.name for stage in stages]
  if last is None:
    return stages
  if last not in names:
    raise UserError(
      f"until='{last}' names no stage; set it to one of {', '.join(names)}, or"
      " leave it out to train all."
    )
  # Stages read earlier ones only, so every prefix is complete.
  return stages[: names.index(last) + 1]


def _trials(settings: Settings) -> members.Trials:
  return members.seeds(settings.seed, settings.seeds)
