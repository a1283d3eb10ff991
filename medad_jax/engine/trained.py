"""A trained model as an object that can be loaded and asked."""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medad_jax.engine import config as configuration
from medad_jax.engine import cores, members, scorer
from medad_jax.types import Method, Phase, TrainState, UserError


@dataclasses.dataclass(frozen=True)
class Trained:
  """A method with its final states.

  What scores a run's test set, right after training and later, and what
  anything else asks: one program on one mesh, with the same bits on the same
  machine.

  Attributes:
    config: the run's configuration.
    method: what scores.
    states: its final states by phase, members first, seed after seed.
  """

  config: Mapping[str, Any]
  method: Method
  states: Mapping[str, TrainState]

  @classmethod
  def load(cls, workdir: Path | str) -> "Trained":
    """The model of a finished run, from its folder alone.

    Raises:
      UserError: there is no finished run.
    """
    workdir = Path(workdir).expanduser()
    config = configuration.load(workdir)
    method = configuration.build_method(config)
    make_devices(config, method)
    states = scorer.restore(
      method, _seeds(config), image_shape(config), workdir
    )
    return cls(config, method, states)

  @property
  def seeds(self) -> tuple[int, ...]:
    """The seed of each training."""
    return _seeds(self.config)

  def score(self, images: np.ndarray) -> scorer.Scored:
    """All that the model makes of images, on the host.

    Args:
      images: uint8 [n h w c], of the run's size and channels; at least one.

    Returns:
      Scores, maps, reconstructions and latents, each [n s ...] with the
      trainings s in the order of `seeds`.

    Raises:
      UserError: the images are of another kind.
    """
    parts = [scorer.on_host(x, count) for count, x in self.batches(images)]
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)

  def batches(self, images: np.ndarray) -> Iterator[tuple[int, scorer.Scored]]:
    """As `scorer.Scorer.batches`, of images as in `score`.

    Raises:
      UserError: the images are of another kind.
    """
    shape = image_shape(self.config)
    if images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
      raise UserError(
        f"{images.dtype} images of shape {images.shape} were given to a model"
        f" of uint8 images of shape {('n', *shape)}; resize them to its"
        " size and give one or more."
      )
    return self._scorer.batches(images)

  @functools.cached_property
  def _scorer(self) -> scorer.Scorer:
    return scorer.Scorer(
      self.method,
      self.states,
      self.config["evaluation"]["batch_size"],
      self.config["parallel"],
      len(self.seeds),
    )


def image_shape(config: Mapping[str, Any]) -> tuple[int, int, int]:
  """Height, width and channels of a run's images."""
  data = config["data"]
  return data["image_size"], data["image_size"], data["channels"]


def make_devices(config: Mapping[str, Any], method: Method) -> None:
  """Makes the devices of a CPU that the run's training made.

  On another number of devices a program is another one, whose sums round
  differently: scores would differ in their last digits from those of the run.
  It must come before anything asks JAX for its devices.
  """
  first = next(p for p in method.phases() if isinstance(p, Phase))
  cores.make_devices(
    first.members * len(_seeds(config)),
    config["mesh"]["member"],
    config["mesh"]["batch"],
  )


def _seeds(config: Mapping[str, Any]) -> tuple[int, ...]:
  return members.seeds_of(config["seed"], config["seeds"])
