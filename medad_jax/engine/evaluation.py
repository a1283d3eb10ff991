"""Evaluation: predict, score, measure, write; all from a run's folder."""

from collections.abc import Mapping
import csv
import json
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import medad_jax
from medad_jax.data import resident, spec
from medad_jax.engine import checkpoint, parallel, train, writers
from medad_jax.report import figures, page
from medad_jax.scoring import metrics
from medad_jax.types import Batch, Method, Scores, TrainState, UserError

PACKAGES = (medad_jax, jax, flax, optax, np)
GALLERY = (0.0, 1 / 3, 2 / 3, 1.0)  # quantiles of each class that are shown


class Scorer:
  """A method's scores of images, compiled once for one batch size.

  Args:
    method: what scores.
    states: its final states by phase, members first.
    batch_size: images a call, over all devices; rounded up to divide.
  """

  def __init__(
    self,
    method: Method,
    states: Mapping[str, TrainState],
    batch_size: int,
    mode: str = "jit",
  ):
    devices = len(jax.devices())
    self._batch_size = -(-batch_size // devices) * devices
    self._layout = parallel.make_layout(
      1, self._batch_size, mode=mode, member_devices=1
    )
    shared = {p.name for p in method.phases() if p.shared}
    self._states = self._layout.put(dict(states), parallel.WHOLE)

    def score(states, images, ids):
      batch = _batch(images, ids)
      own = {k: v for k, v in states.items() if k not in shared}
      fitted = {k: v for k, v in states.items() if k in shared}
      preds = jax.vmap(method.predict, (0, None))(own, batch)
      return method.score(preds, batch, fitted)

    self._score = self._layout.lift(
      score,
      (parallel.WHOLE, parallel.EXAMPLE, parallel.EXAMPLE),
      parallel.EXAMPLE,
    )

  def images(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Image scores by name, each [n], of uint8 images [n h w c]."""
    parts = [
      jax.device_get(self._call(images, at).image)
      for at in range(0, len(images), self._batch_size)
    ]
    whole = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    return {k: v[: len(images)] for k, v in whole.items()}

  def maps(self, images: np.ndarray) -> Scores:
    """Everything the method says of at most one batch of images."""
    scores = jax.device_get(self._call(images, 0))
    return jax.tree.map(lambda x: x[: len(images)], scores)

  def _call(self, images: np.ndarray, at: int) -> Scores:
    """Scores of one batch; the last one is padded with black images."""
    part = np.asarray(images[at : at + self._batch_size])
    ids = np.full(self._batch_size, -1, np.int32)
    ids[: len(part)] = np.arange(at, at + len(part))
    padded = np.zeros((self._batch_size, *part.shape[1:]), np.uint8)
    padded[: len(part)] = part
    args = self._layout.put((padded, ids), parallel.EXAMPLE)
    return self._layout.get(self._score(self._states, *args), parallel.EXAMPLE)


def restore(
  method: Method, seed: int, shape: tuple[int, int, int], workdir: Path
) -> train.States:
  """The final states of a finished run, on the first device.

  Raises:
    UserError: a phase has not finished.
  """
  states = {}
  for phase in method.phases():
    target = train.abstract_states(phase, seed, shape)
    saved = checkpoint.Checkpoints(workdir / "checkpoints", phase.name)
    states[phase.name] = saved.final(target)
  return states


def evaluate(
  method: Method,
  states: Mapping[str, TrainState],
  dataset: spec.Dataset,
  config: Mapping[str, Any],
  workdir: Path,
) -> dict[str, Any]:
  """Scores the test split and writes scores, results, figures and a page.

  Args:
    method: what scores.
    states: its final states by phase.
    dataset: holds the split 'test'.
    config: the run's configuration, kept with the results.
    workdir: where the files go.

  Returns:
    What `results.json` holds.

  Raises:
    UserError: a score is not finite.
  """
  test = dataset.splits["test"]
  size, mode = config["evaluation"]["batch_size"], config["parallel"]
  scorer = Scorer(method, states, size, mode)
  found = scorer.images(test.images)
  scores = {name: found[name] for name in method.score_names}
  _check_finite(scores)
  results = _results(method, scores, dataset, config, workdir)
  _write_scores(workdir / "scores.csv", test, scores)
  _write_json(workdir / "results.json", results)
  drawn = _draw(workdir, test, scores, scorer)
  page.write(workdir / "report.html", results, drawn)
  return results


def _results(method, scores, dataset, config, workdir) -> dict[str, Any]:
  labels = dataset.splits["test"].labels
  headline = method.score_names[-1]
  return {
    "dataset": dataset.name,
    "method": config["method"],
    "config": config,
    "seed": config["seed"],
    "members": max(phase.members for phase in method.phases()),
    "data": {"fingerprint": dataset.fingerprint, "counts": dataset.counts},
    "versions": {m.__name__: m.__version__ for m in PACKAGES},
    "devices": [d.device_kind for d in jax.devices()],
    "seconds": writers.phase_seconds(workdir),
    "scores": {k: metrics.summarize(labels, v) for k, v in scores.items()},
    "comparisons": [
      {"a": headline, "b": other}
      | metrics.compare(labels, scores[headline], scores[other])
      for other in method.score_names[:-1]
    ],
  }


def _check_finite(scores: Mapping[str, np.ndarray]) -> None:
  bad = {k: int((~np.isfinite(v)).sum()) for k, v in scores.items()}
  if any(bad.values()):
    found = ", ".join(f"{k} ({n} images)" for k, n in bad.items() if n)
    raise UserError(
      f"some scores are not finite: {found}; the net has diverged, train again"
      " with a lower train.learning_rate or with train.grad_clip."
    )


def _batch(images: jax.Array, ids: jax.Array) -> Batch:
  return Batch(
    image=resident.normalize(images),
    label=jnp.full(ids.shape, -1, jnp.int32),  # scores see no labels
    valid=ids >= 0,
    slot=ids,
    id=ids,
  )


def _write_scores(path: Path, test: spec.Split, scores) -> None:
  with path.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "name", "label", *scores])
    rows = zip(test.names, test.labels, *scores.values(), strict=True)
    for at, (name, label, *values) in enumerate(rows):
      table.writerow([at, name, int(label), *(f"{v:.9g}" for v in values)])


def _write_json(path: Path, tree: Any) -> None:
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(tree, indent=2) + "\n")
  temporary.replace(path)


def _draw(workdir: Path, test, scores, scorer: Scorer) -> list[Path]:
  """The figures, in the order of the page."""
  folder = workdir / "figures"
  folder.mkdir(exist_ok=True)
  labels, headline = test.labels, list(scores)[-1]
  rows = _gallery_rows(labels, scores[headline])
  drawn = [folder / "gallery.png", folder / "roc.png"]
  drawn.append(folder / "precision_recall.png")
  shown = _gallery(rows, test, scores[headline], scorer, list(scores))
  figures.gallery(drawn[0], shown)
  figures.roc(drawn[1], labels, scores)
  figures.precision_recall(drawn[2], labels, scores)
  for name, values in reversed(scores.items()):
    drawn.append(folder / f"histogram_{name}.png")
    figures.histogram(drawn[-1], *metrics.split(labels, values), name)
  if (workdir / "metrics.jsonl").exists():
    drawn.append(folder / "training.png")
    figures.training_curves(drawn[-1], workdir / "metrics.jsonl")
  return drawn


def _gallery_rows(labels: np.ndarray, scores: np.ndarray) -> list[int]:
  """Rows from the lowest to the highest score of each class: no cherries."""
  rows: list[int] = []
  for label in (0, 1):
    members = np.flatnonzero(labels == label)
    if len(members):
      order = members[np.argsort(scores[members], kind="stable")]
      at = {round(q * (len(order) - 1)) for q in GALLERY}
      rows += [int(order[i]) for i in sorted(at)]
  return rows


def _gallery(
  rows, test, scores, scorer: Scorer, names: list[str]
) -> list[figures.Row]:
  found = scorer.maps(test.images[np.asarray(rows)])
  kinds = {0: "normal", 1: "abnormal"}
  return [
    figures.Row(
      image=test.images[row],
      reconstruction=found.reconstruction[i],
      maps={k: found.maps[k][i] for k in names if k in found.maps},
      mask=None if test.masks is None else test.masks[row],
      caption=f"{test.names[row]}\n{kinds[int(test.labels[row])]},"
      f" score {scores[row]:.4g}",
    )
    for i, row in enumerate(rows)
  ]
