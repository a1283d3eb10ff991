"""From trained states to the scores of images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medad_jax.engine import batched, checkpoint, members
from medad_jax.types import Method, Phase, Scores, TrainState

States = Mapping[str, TrainState]
# (first image of the batch, maps by name [b s h w]) -> None
Sink = Callable[[int, Mapping[str, np.ndarray]], None]


class Scorer:
  """A method's scores of images, compiled once for one batch size.

  Args:
    method: what scores.
    states: its final states by phase, members first, seed after seed.
    batch_size: images a call, over all devices; rounded up to divide.
    mode: 'jit' or 'pmap'.
    seeds: trainings that the states hold; each is scored by itself.
  """

  def __init__(
    self,
    method: Method,
    states: States,
    batch_size: int,
    mode: str = "jit",
    seeds: int = 1,
  ):
    self._batched = batched.Batched(
      _score_function(method, seeds), batch_size, mode
    )
    self._states = self._batched.place(dict(states))

  def images(
    self, images: np.ndarray, sink: Sink | None = None
  ) -> dict[str, np.ndarray]:
    """Image scores by name, each [n s], of uint8 images [n h w c].

    Args:
      images: any number.
      sink: is given the pixel maps of every batch, if there is one.
    """
    parts = []
    for at, count, scores in self._batched.parts(self._states, images):
      parts.append(_first(scores.image, count))
      if sink is not None:
        sink(at, _first(scores.maps, count))
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

  def first_seed(self, images: np.ndarray) -> Scores:
    """Everything the first seed says of at most one batch of images."""
    _, count, scores = next(self._batched.parts(self._states, images))
    return jax.tree.map(lambda x: x[:, 0], _first(scores, count))


def restore(
  method: Method,
  seeds: tuple[int, ...],
  shape: tuple[int, int, int],
  workdir: Path,
) -> dict[str, TrainState]:
  """The final states of a finished run, on the first device.

  Raises:
    UserError: a phase has not finished.
  """
  states = {}
  for phase in method.phases():
    target = None
    if isinstance(phase, Phase):
      target = members.abstract_states(phase, seeds, shape)
    saved = checkpoint.Checkpoints(workdir / "checkpoints", phase.name)
    states[phase.name] = saved.final(target)
  return states


def _score_function(method: Method, seeds: int) -> Callable[..., Scores]:
  """(states, batch) -> scores [b s ...]."""
  shared = {phase.name for phase in method.phases() if phase.shared}

  def one_seed(states, batch):
    own = {k: v for k, v in states.items() if k not in shared}
    fitted = {k: v for k, v in states.items() if k in shared}
    preds = jax.vmap(method.predict, (0, None))(own, batch)
    return method.score(preds, batch, fitted)

  def score(states, batch):
    runs = members.by_seed(states, seeds)
    return jax.vmap(one_seed, (0, None), 1)(runs, batch)

  return score


def _first(tree: Any, count: int) -> Any:
  """The first examples of arrays, on the host."""
  return jax.tree.map(lambda x: x[:count], jax.device_get(tree))
