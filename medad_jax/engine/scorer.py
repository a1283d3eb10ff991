"""From trained states to the scores of images."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.engine import batched, checkpoint, members
from medad_jax.types import Method, Phase, Scores, TrainState

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
    function = _score_function(method, seeds)
    self._batched = batched.Batched(function, batch_size, mode)
    self._states = self._batched.place(dict(states))

  def batches(self, images: np.ndarray) -> Iterator[tuple[int, Scored]]:
    """Yields (images, results on the device) of uint8 images [n h w c].

    Only the first `images` results of a batch are valid: `on_host` cuts them.
    """
    for _, count, found in self._batched.parts(self._states, images):
      yield count, found

  def images(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Image scores by name, each [n s], of uint8 images [n h w c]."""
    parts = [
      on_host(found.scores.image, count)
      for count, found in self.batches(images)
    ]
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def on_host(tree: Any, count: int) -> Any:
  """The first examples of arrays, on the host."""
  return jax.tree.map(lambda x: x[:count], jax.device_get(tree))


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


def _score_function(method: Method, seeds: int) -> Callable[..., Scored]:
  """(states, batch) -> results [b s ...]."""
  shared = {phase.name for phase in method.phases() if phase.shared}

  def one_seed(states, batch):
    own = {k: v for k, v in states.items() if k not in shared}
    fitted = {k: v for k, v in states.items() if k in shared}
    preds = jax.vmap(method.predict, (0, None))(own, batch)
    latents = preds.get(LATENT)
    if latents is not None:
      latents = jnp.moveaxis(latents, 0, 1)
      latents = latents.reshape(*latents.shape[:2], -1)
    return Scored(method.score(preds, batch, fitted), latents)

  def score(states, batch):
    runs = members.by_seed(states, seeds)
    return jax.vmap(one_seed, (0, None), 1)(runs, batch)

  return score
