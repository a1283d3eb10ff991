"""Models for Python: fit on arrays, load from a folder, score decoded images.

  model = medad_jax.fit(images)  # normal images [n h w] or [n h w c]
  model = medad_jax.load("runs/mine")
  found = model.score(others)  # scores, maps, p-values and flags

Images are gray levels as decoded, uint8 or uint16, of any size: they are
prepared as files are, and have the scores that `predict` writes.
"""

from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import os
from pathlib import Path
import tempfile
from typing import Any

import numpy as np

from medad_jax import exported, files, pictures
from medad_jax.augment import geometry
from medad_jax.data import decode, index, preparation, spec
from medad_jax.engine import alarms, experiment, exporting
from medad_jax.engine import config as configuration
from medad_jax.engine.trained import Trained
from medad_jax.types import UserError

_NAME = "images"  # of the data set that arrays are
# Where a method's own defaults are not for a first try: as configs/folder.py.
_USUAL = {"patchcore": {"data.image_size": 224, "evaluation.batch_size": 32}}


@dataclasses.dataclass(frozen=True)
class Model:
  """A trained model, and what it makes of decoded images.

  Attributes:
    trained: what scores.
    workdir: the run's folder.
  """

  trained: Trained
  workdir: Path

  def prepare(self, image: np.ndarray) -> np.ndarray:
    """The image that the model is fed, [h w c], from a decoded one.

    Args:
      image: gray levels [h w], [h w 1] or RGB [h w 3], uint8 or uint16.

    Raises:
      UserError: it is something else.
    """
    try:
      pictures.check(image)
    except pictures.ModelFileError as error:
      raise UserError(str(error)) from error
    data = self.trained.settings.data
    text = str(preparation.parse(data.tested, data.stored))
    stored = pictures.prepared(image, text, data.channels)
    return geometry.center(stored, data.image_size)

  def score(self, images: Sequence[np.ndarray] | np.ndarray) -> exported.Found:
    """Everything that the model finds in decoded images.

    Args:
      images: as for `prepare`, one or more, of any sizes.

    Raises:
      UserError: they are something else.
    """
    try:
      pictures.check_all(images)
    except pictures.ModelFileError as error:
      raise UserError(str(error)) from error
    # By the numpy code that a model file has: one answer for both.
    fed = np.stack([self.prepare(image) for image in images])
    found = self.trained.score(fed).scores
    # In the method's order, the headline last.
    names = self.trained.method.score_names
    scores = {name: found.image[name] for name in names}
    judged = exported.judged(scores[names[-1]], self._alarms)
    return exported.Found(scores, found.maps, found.reconstruction, *judged)

  @property
  def threshold(self) -> float | None:
    """The headline above which an image is flagged, of the first training."""
    return self._alarms[0]["threshold"] if self._alarms else None

  @property
  def largest_normal(self) -> float:
    """The largest headline of held-out normal images.

    Raises:
      UserError: none was held out.
    """
    if not self._alarms:
      raise UserError(
        "no image was held out of this training; set held_out, to 0.2 say."
      )
    return self._alarms[0]["levels"][-1]

  @functools.cached_property
  def _alarms(self) -> list[dict[str, Any]]:
    wanted = self.trained.settings.evaluation
    headline = self.trained.method.score_names[-1]
    found = alarms.of_run(self.workdir, headline, wanted)
    return [exporting.alarm_facts(one) for one in found]


def load(workdir: str | os.PathLike[str]) -> Model:
  """The model of a finished run, from its folder.

  Raises:
    UserError: there is no finished run.
  """
  path = files.expanded(workdir)
  return Model(Trained.load(path), path)


def fit(
  images: Sequence[np.ndarray] | np.ndarray,
  method: str = "patchcore",
  *,
  workdir: str | os.PathLike[str] | None = None,
  held_out: float = 0.2,
  **fields: Any,
) -> Model:
  """A model of normal images.

  Args:
    images: normal ones, decoded: uint8 or uint16, [h w], [h w 1] or [h w 3],
      of any sizes.
    method: a module of `medad_jax.methods`.
    workdir: where the run is kept, and continued if it was stopped; None for a
      folder that the system may remove.
    held_out: share of the images that the threshold and p-values come from.
    fields: of the configuration, with two underscores for a dot:
      `train__epochs=5`, `seed=1`.

  Raises:
    UserError: the images, a field or the folder do not fit, or the method
      trains on more than normal images.
  """
  try:
    pictures.check_all(images)
  except pictures.ModelFileError as error:
    raise UserError(str(error)) from error
  # One color image makes a model of color, as nothing of it should be lost.
  color = any(np.ndim(x) == 3 and np.shape(x)[2] == 3 for x in images)
  named = {name.replace("__", "."): value for name, value in fields.items()}
  config = configuration.with_hyper(
    configuration.defaults(method),
    {
      "data.name": _NAME,
      "data.channels": 3 if color else 1,
      "validation.share": held_out,
      **_USUAL.get(method, {}),
      **named,
    },
  )
  settings = configuration.settings_of(config)
  # Before anything is prepared, which may take a while.
  _check_normal_alone(config)
  dataset = _dataset(images, settings.data)
  # Not removed with the model: its folder is all that is left of a session.
  if workdir is None:
    workdir = tempfile.mkdtemp(prefix="medad_jax_")
  path = files.expanded(workdir)
  experiment.train_and_evaluate(config, path, dataset)
  # From its folder, as anybody would get it later.
  return load(path)


def _check_normal_alone(config: configuration.Config) -> None:
  """Raises UserError where a method trains on more than normal images."""
  stages = configuration.build_method(config).phases()
  pools = [pool for stage in stages for pool in stage.pools]
  if absent := sorted(set(index.splits_used(pools)) - {"train"}):
    raise UserError(
      f"{config['method']} trains on {', '.join(absent)}, too, and normal ones"
      " were given alone; build a set (python -m medad_jax.build folder), or"
      " choose another method."
    )


def _dataset(images: Any, data: Any) -> spec.Dataset:
  """The images as a data set with nothing but a training split."""
  frame = decode.Frame(data.stored, data.channels, data.preparation)
  text = str(preparation.parse(data.preparation, data.stored))
  fed = np.stack(
    [pictures.prepared(image, text, data.channels) for image in images]
  ).astype(frame.dtype)
  split = spec.Split(
    fed,
    np.zeros(len(fed), np.int32),
    tuple(f"{k:06d}" for k in range(len(fed))),
  )
  # A folder continues with the same images only.
  digest = hashlib.sha256(fed.tobytes())
  digest.update(f"{fed.shape} {text}".encode())
  return spec.Dataset(
    _NAME, {"train": split}, digest.hexdigest(), {"train": len(fed)}
  )
