"""From trained states to the scores of images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medad_jax.engine import checkpoint, members, sweep
from medad_jax.engine.devices import Devices
from medad_jax.types import Fit, Method, Scores, TrainState

States = Mapping[str, TrainState]
# (first image of the batch, maps by name [b s h w]) -> None
Sink = Callable[[int, Mapping[str, np.ndarray]], None]


class Scorer:
  """A method's scores of images, compiled once for one batch size.

  Args:
    method: what scores.
    states: its final states by phase, members first, seed after seed.
    batch_size: images a call, over all devices; rounded up to divide.
    devices: the run's.
    trials: trainings that the states hold; each is scored by itself.
  """

  def __init__(
    self,
    method: Method,
    states: States,
    batch_size: int,
    devices: Devices,
    trials: int = 1,
  ):
    function = score_function(method, trials)
    self._sweep = sweep.Sweep(function, batch_size, devices)
    self._states = self._sweep.place(dict(states))

  def images(
    self, images: np.ndarray, sink: Sink | None = None
  ) -> dict[str, np.ndarray]:
    """Image scores by name, each [n s], of uint8 images [n h w c].

    Args:
      images: any number.
      sink: is given the pixel maps of every batch, if there is one.
    """
    parts = []
    for at, count, scores in self._sweep.parts(self._states, images):
      parts.append(_first(scores.image, count))
      if sink is not None:
        sink(at, _first(scores.maps, count))
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

  def first_seed(self, images: np.ndarray) -> Scores:
    """Everything the first seed says of at most one batch of images."""
    _, count, scores = next(self._sweep.parts(self._states, images))
    return jax.tree.map(lambda x: x[:, 0], _first(scores, count))


def restore(
  method: Method,
  trials: members.Trials,
  shape: tuple[int, int, int],
  workdir: Path,
) -> dict[str, TrainState]:
  """The final states of a finished run, on the first device.

  Raises:
    UserError: a stage has not finished.
  """
  states: dict[str, TrainState] = {}
  who = {s.name: members.of_stage(s, trials) for s in method.phases()}
  for stage in method.phases():
    target = None
    if not isinstance(stage, Fit):
      reads = getattr(stage, "reads", ())
      earlier = {name: (who[name], states[name]) for name in reads}
      target = members.abstract_states(stage, trials, shape, earlier)
    saved = checkpoint.Checkpoints(workdir / "checkpoints", stage.name)
    states[stage.name] = saved.final(target)
  return states


def score_function(method: Method, trials: int) -> Callable[..., Scores]:
  """(states, batch) -> scores [b t ...]."""
  shared = {stage.name for stage in method.phases() if stage.shared}

  def one_trial(states, batch):
    fitted = {k: v for k, v in states.items() if k in shared}
    own, axes = _own({k: v for k, v in states.items() if k not in shared})
    preds = jax.vmap(method.predict, (axes, None))(own, batch)
    return method.score(preds, batch, fitted)

  def score(states, batch):
    apart = members.by_trial(states, trials)
    return jax.vmap(one_trial, (0, None), 1)(apart, batch)

  return score


def _own(states: States) -> tuple[dict[str, TrainState], dict[str, int | None]]:
  """States by stage, and the axis of members in each."""
  count = max(len(state.step) for state in states.values())
  # One network that all members use is not copied for each.
  single = {k for k, v in states.items() if len(v.step) == 1 < count}
  own = {
    k: jax.tree.map(lambda x: x[0], v) if k in single else v
    for k, v in states.items()
  }
  return own, {k: None if k in single else 0 for k in states}


def _first(tree: Any, count: int) -> Any:
  """The first examples of arrays, on the host."""
  return jax.tree.map(lambda x: x[:count], jax.device_get(tree))
