"""From trained states to the scores of images."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data import resident
from medad_jax.engine import checkpoint, members, parallel
from medad_jax.types import Batch, Method, Scores, TrainState

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
    devices = len(jax.devices())
    self._batch_size = -(-batch_size // devices) * devices
    self._layout = parallel.make_layout(
      1, self._batch_size, mode=mode, member_devices=1
    )
    self._states = self._layout.put(dict(states), parallel.WHOLE)
    self._score = self._layout.lift(
      _score_function(method, seeds),
      (parallel.WHOLE, parallel.EXAMPLE, parallel.EXAMPLE),
      parallel.EXAMPLE,
    )

  def images(
    self, images: np.ndarray, sink: Sink | None = None
  ) -> dict[str, np.ndarray]:
    """Image scores by name, each [n s], of uint8 images [n h w c].

    Args:
      images: any number.
      sink: is given the pixel maps of every batch, if there is one.
    """
    parts = []
    for at in range(0, len(images), self._batch_size):
      scores = self._call(images, at)
      parts.append(jax.device_get(scores.image))
      if sink is not None:
        left = len(images) - at
        maps = jax.device_get(scores.maps)
        sink(at, {name: map_[:left] for name, map_ in maps.items()})
    whole = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return {k: v[: len(images)] for k, v in whole.items()}

  def first_seed(self, images: np.ndarray) -> Scores:
    """Everything the first seed says of at most one batch of images."""
    scores = jax.device_get(self._call(images, 0))
    return jax.tree.map(lambda x: x[: len(images), 0], scores)

  def _call(self, images: np.ndarray, at: int) -> Scores:
    """Scores of one batch [b s ...]; the last one is padded with black."""
    part = np.asarray(images[at : at + self._batch_size])
    ids = np.full(self._batch_size, -1, np.int32)
    ids[: len(part)] = np.arange(at, at + len(part))
    padded = np.zeros((self._batch_size, *part.shape[1:]), np.uint8)
    padded[: len(part)] = part
    args = self._layout.put((padded, ids), parallel.EXAMPLE)
    return self._layout.get(self._score(self._states, *args), parallel.EXAMPLE)


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
    target = members.abstract_states(phase, seeds, shape)
    saved = checkpoint.Checkpoints(workdir / "checkpoints", phase.name)
    states[phase.name] = saved.final(target)
  return states


def _score_function(method: Method, seeds: int) -> Callable[..., Scores]:
  """(states, uint8 images, ids) -> scores [b s ...]."""
  shared = {phase.name for phase in method.phases() if phase.shared}

  def one_seed(states, batch):
    own = {k: v for k, v in states.items() if k not in shared}
    fitted = {k: v for k, v in states.items() if k in shared}
    preds = jax.vmap(method.predict, (0, None))(own, batch)
    return method.score(preds, batch, fitted)

  def score(states, images, ids):
    runs = members.by_seed(states, seeds)
    return jax.vmap(one_seed, (0, None), 1)(runs, _batch(images, ids))

  return score


def _batch(images: jax.Array, ids: jax.Array) -> Batch:
  return Batch(
    image=resident.normalize(images),
    label=jnp.full(ids.shape, -1, jnp.int32),  # scores see no labels
    valid=ids >= 0,
    slot=ids,
    id=ids,
  )
