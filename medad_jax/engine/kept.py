"""A test set as a model sees it: scores in memory, arrays on disk."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from medad_jax.data import spec
from medad_jax.engine import arrays, processes, scorer
from medad_jax.engine.trained import Trained
from medad_jax.scoring import fidelity
from medad_jax.types import Scores, UserError

SAVED = ("maps", "reconstructions", "latents")  # what --save may name
RECONSTRUCTION, LATENTS = "reconstruction", "latents"
_MAP, _DRAWS = "map ", "draws "

# Scores [n s] by name.
Found = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Kept:
  """All that is kept of a scored test set.

  Attributes:
    scores: of the images by name, [n s].
    draws: of every random draw, [n s d]; empty where there are none.
    fidelity: fields of `fidelity.Fidelity` for each image, [n s]; empty without
      reconstructions and in all but the first process, like the arrays.
    arrays: maps and reconstructions, on disk.
  """

  scores: Found
  draws: Found
  fidelity: Found
  arrays: arrays.Arrays

  def read(self, name: str) -> np.ndarray | None:
    """An array of all images; None where it was not kept."""
    return self.arrays.read(name) if name in self.arrays.names() else None

  def maps(self, name: str, seed: int) -> np.ndarray | None:
    """The maps [n h w] of a score and a seed, where they were kept."""
    return self._of_seed(f"{_MAP}{name}", seed)

  def draw_maps(self, name: str, seed: int) -> np.ndarray | None:
    """The maps [n d h w] of every draw, where they were kept."""
    return self._of_seed(f"{_DRAWS}{name}", seed)

  def to_save(self, save: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays [n s ...] that --save names, by the stem of their file."""
    kinds = {name: _kind(name) for name in self.arrays.names()}
    return {
      "_".join((kind, *name.split()[1:])): self.arrays.read(name)
      for name, kind in kinds.items()
      if kind is not None and kind in save
    }

  def _of_seed(self, name: str, seed: int) -> np.ndarray | None:
    found = self.read(name)
    if found is None:
      return None
    # Where nothing measures maps, only the first seed's were kept.
    return found[:, seed] if seed < found.shape[1] else None


def score(
  trained: Trained,
  test: spec.Split,
  room: arrays.Arrays,
  save: Sequence[str] = (),
  all_maps: bool = True,
) -> Kept:
  """Scores a test set; the first process keeps the arrays.

  Args:
    trained: what scores.
    test: the images.
    room: where arrays go.
    save: of `SAVED`, the arrays to keep of all seeds.
    all_maps: whether maps of all seeds and draws are wanted. Figures show the
      first seed's.

  Raises:
    UserError: the method does not make what is to be saved.
  """
  every = all_maps or "maps" in save
  images: list[Mapping[str, np.ndarray]] = []
  draws: list[Mapping[str, np.ndarray]] = []
  close: list[Mapping[str, np.ndarray]] = []
  at = 0
  for count, found in trained.batches(test.images, test.columns):
    images.append(scorer.on_host(found.scores.image, count))
    # Draws of scores are few numbers; their maps are on disk.
    if found.scores.draws is not None:
      draws.append(scorer.on_host(found.scores.draws.image, count))
    chosen = _chosen(found, every, all_maps, save)
    _check_made(chosen, save)  # at the first batch, in all processes
    # The other processes score, and leave measuring to the first one.
    if processes.first():
      room.append(scorer.on_host(chosen, count))
      close.append(_fidelity(test.images[at : at + count], found.scores, count))
    at += count
  # In the method's order, the headline last.
  # A run that stopped after a stage lacks the scores of later ones.
  there = [name for name in trained.method.score_names if name in images[0]]
  return Kept(
    {name: np.concatenate([part[name] for part in images]) for name in there},
    _concatenated(draws),
    _concatenated(close),
    room,
  )


def _concatenated(parts: Sequence[Found]) -> Found:
  names = parts[0] if parts else ()
  return {
    name: np.concatenate([part[name] for part in parts]) for name in names
  }


def _chosen(
  found: scorer.Scored, every: bool, draws: bool, save: Sequence[str]
) -> dict[str, Any]:
  """Arrays to keep of a batch, [b s ...]; of all seeds only where needed."""
  scores = found.scores
  chosen = {
    f"{_MAP}{name}": values if every else values[:, :1]
    for name, values in scores.maps.items()
  }
  if draws and scores.draws is not None:
    maps = scores.draws.maps.items()
    chosen |= {f"{_DRAWS}{name}": values for name, values in maps}
  if (values := scores.reconstruction) is not None:
    chosen[RECONSTRUCTION] = (
      values if "reconstructions" in save else values[:, :1]
    )
  if (codes := found.latents) is not None:
    chosen[LATENTS] = codes if "latents" in save else codes[:, :1]
  return chosen


def _check_made(chosen: Iterable[str], save: Sequence[str]) -> None:
  """Raises UserError where the method does not make what is to be saved."""
  made = sorted({kind for name in chosen if (kind := _kind(name))})
  if absent := [kind for kind in save if kind not in made]:
    raise UserError(
      f"--save={','.join(absent)} was given, but the method makes none; it"
      f" makes {', '.join(made) or 'nothing but scores'}."
    )


def _kind(name: str) -> str | None:
  """One of `SAVED`, from the name of a kept array."""
  # By the first word: "map rec" is of "maps", "reconstruction" of
  # "reconstructions".
  first = name.split()[0]
  return next((kind for kind in SAVED if kind.startswith(first)), None)


def _fidelity(
  images: np.ndarray, scores: Scores, count: int
) -> dict[str, np.ndarray]:
  """Numbers [b s] of a batch's reconstructions, the means over draws."""
  of, drawn = scores, False
  if scores.draws is not None and scores.draws.reconstruction is not None:
    of, drawn = scores.draws, True
  if of.reconstruction is None:
    return {}
  x_hat = scorer.on_host(of.reconstruction, count)
  if not drawn:
    x_hat = x_hat[:, :, None]
  # As nets see them, but from 0 to 1: levels are 0 to 255 in either storage.
  x = np.asarray(images, np.float32) / 255
  x_hat = np.clip((x_hat + 1) / 2, 0, 1)
  found = {
    "mae": fidelity.mean_absolute_error,
    "ssim": fidelity.structural_similarity,
  }
  several = x_hat.shape[1:3]
  # Each draw by itself: the mean of reconstructions is smoother than each.
  numbers = {}
  for name, measure in found.items():
    parts = [measure(x, x_hat[:, s, d]) for s, d in np.ndindex(several)]
    known = [part for part in parts if part is not None]
    if known:
      numbers[name] = np.reshape(known, (*several, len(x))).mean(1).T
  for name, values in scorer.on_host(of.distances, count).items():
    numbers[name] = values.mean(-1) if drawn else values
  return numbers
