"""Scores of held-out normal images, kept with the checkpoints.

Scores of healthy images are the basis of a threshold that needs no anomalies.
The images were in no training pool, and the trained model scores them as it
scores everything else.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data import columns
from medad_jax.data.joined import Rows
from medad_jax.engine import checkpoint, scorer, trained
from medad_jax.types import TrainState

NAME = "calibration"
_READ = 1024  # images that are read at a time


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Scores of held-out normal images.

  Attributes:
    rows: which they are, of the run's training array [n].
    scores: image scores by name, each [n s], trainings s in their order.
    patients: a number of each image's patient; None where none is known.
    peaks: the largest value of the headline's map, [n s]; None without maps.
  """

  rows: np.ndarray
  scores: Mapping[str, np.ndarray]
  patients: np.ndarray | None = None
  peaks: np.ndarray | None = None


def keep(
  model: trained.Trained,
  images: Rows,
  rows: np.ndarray,
  workdir: Path,
  texts: columns.Texts | None = None,
) -> None:
  """Scores the held-out images, unless an earlier start did.

  Args:
    model: what was trained.
    images: [n h w c], all of the training array.
    rows: those held out; nothing is kept where there are none.
    workdir: the run's folder.
    texts: columns of all images, for methods that read some.

  Raises:
    UserError: the scores cannot be written.
  """
  saved = checkpoint.Checkpoints(workdir / "checkpoints", NAME)
  # A restart has the same states; scoring again would give the same bits.
  if saved.finished or not len(rows):
    return
  own = {k: [v[row] for row in rows] for k, v in (texts or {}).items()}
  # The program that scores test images, so a threshold fits them exactly.
  headline = model.method.score_names[-1]
  parts, peaks = [], []
  for at in range(0, len(rows), _READ):
    # A part at a time: the images may be many, and lie in a file.
    part = slice(at, at + _READ)
    texts_of = {name: values[part] for name, values in own.items()}
    for count, found in model.batches(images[rows[part]], texts_of):
      parts.append(scorer.on_host(found.scores.image, count))
      if (maps := found.scores.maps.get(headline)) is not None:
        # What an overlay's scale is made from; the maps would be gigabytes.
        peaks.append(scorer.on_host(jnp.max(maps, (2, 3)), count))
  scores = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
  params = {"rows": jnp.asarray(rows), "scores": scores}
  # An evaluation does not read the training set, which knows the patients.
  if (patients := columns.patients(own)) is not None:
    params["patients"] = jnp.asarray(patients)
  if peaks:
    params["peaks"] = np.concatenate(peaks)
  saved.finish(
    # Checkpoints hold train states, so the scores travel as the parameters of
    # one. Its step and its key mean nothing.
    TrainState(
      step=jnp.ones(1, jnp.int32),
      params=params,
      extra={},
      opt={},
      key=jax.random.split(jax.random.key(0), 1),
    )
  )


def load(workdir: Path) -> Calibration | None:
  """The held-out scores that `keep` wrote; None if no image was held out."""
  saved = checkpoint.Checkpoints(workdir / "checkpoints", NAME)
  if not saved.finished:
    return None
  found = jax.device_get(saved.final().params)
  return Calibration(
    np.asarray(found["rows"]),
    found["scores"],
    found.get("patients"),
    found.get("peaks"),
  )
