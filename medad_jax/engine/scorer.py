"""Scores of images, computed from trained states."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data import joined
from medad_jax.engine import batched, checkpoint, members
from medad_jax.engine.devices import Devices
from medad_jax.types import Fit, Method, Scores, Stage, TrainState

States = Mapping[str, TrainState]
LATENT = "latent"  # of a method's predictions: the code [b ...] of each image


@struct.dataclass
class Scored:
  """All that a trained method makes of images; arrays are [b s ...].

  Attributes:
    scores: see `types.Scores`; the seeds s follow the images.
    latents: the code of every member side by side, [b s k z]; None where the
      method predicts none.
  """

  scores: Scores
  latents: Any = None


class Scorer:
  """A method's scores of images, compiled once for one batch size.

  There is one program, whatever part of its results is used: an image has the
  same bits wherever it is scored with this batch size on these devices.

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
    self._batched = batched.Batched(function, batch_size, devices)
    self._states = self._batched.place(dict(states))

  def batches(
    self, images: joined.Rows, columns: Mapping[str, np.ndarray] | None = None
  ) -> Iterator[tuple[int, Scored]]:
    """Yields (images, results on the device) of stored images [n h w c].

    Only the first `images` results of a batch are valid: `on_host` cuts them.
    `columns` are codes [n] by name, of the columns that the method reads.
    """
    for _, count, found in self._batched.parts(self._states, images, columns):
      yield count, found

  def images(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Image scores by name, each [n s], of stored images [n h w c]."""
    parts = [
      on_host(found.scores.image, count)
      for count, found in self.batches(images)
    ]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def on_host(tree: Any, count: int) -> Any:
  """The first examples of arrays, on the host."""
  return jax.tree.map(lambda x: x[:count], jax.device_get(tree))


def restore(
  stages: Sequence[Stage],
  trials: members.Trials,
  shape: tuple[int, int, int],
  workdir: Path,
) -> dict[str, TrainState]:
  """The final states of a finished run, on the first device.

  Raises:
    UserError: a stage has not finished.
  """
  states: dict[str, TrainState] = {}
  who = {s.name: members.of_stage(s, trials) for s in stages}
  for stage in stages:
    # Only the file knows the shapes of an estimate.
    target = None
    if not isinstance(stage, Fit):
      reads = getattr(stage, "reads", ())
      # A stage may take over shapes from those that it reads.
      earlier = {name: (who[name], states[name]) for name in reads}
      target = members.abstract_states(stage, trials, shape, earlier)
    saved = checkpoint.Checkpoints(workdir / "checkpoints", stage.name)
    states[stage.name] = saved.final(target)
  return states


def score_function(method: Method, trials: int) -> Callable[..., Scored]:
  """(states, batch) -> results [b s ...]."""
  shared = {stage.name for stage in method.phases() if stage.shared}

  def one_trial(states, batch):
    # Shared stages, such as a refinement net, judge all members together; each
    # member sees the others alone.
    fitted = {k: v for k, v in states.items() if k in shared}
    own, axes = _own({k: v for k, v in states.items() if k not in shared})
    preds = jax.vmap(method.predict, (axes, None))(own, batch)
    latents = preds.get(LATENT)
    if latents is not None:
      # [k b ...] -> [b k z]: the members of an image side by side.
      latents = jnp.moveaxis(latents, 0, 1)
      latents = latents.reshape(*latents.shape[:2], -1)
    return Scored(method.score(preds, batch, fitted), latents)

  def score(states, batch):
    apart = members.by_trial(states, trials)
    # Trials follow the images, whose axis is spread over the devices.
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
