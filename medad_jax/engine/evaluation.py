"""Evaluation: predict, score, measure, write; all from a run's folder."""

from collections.abc import Mapping
import csv
import json
from pathlib import Path
import tempfile
from typing import Any

import jax
import numpy as np

from medad_jax.data import spec
from medad_jax.engine import (
  environment,
  members,
  processes,
  scorer,
  writers,
)
from medad_jax.engine.devices import Devices
from medad_jax.engine.workdir import Workdir
from medad_jax.report import figures, page
from medad_jax.scoring import metrics, pixels, spread
from medad_jax.types import Method, TrainState, UserError

WEIGHTS = "weights.json"  # in the workdir: where pretrained weights are from
GALLERY = (0.0, 1 / 3, 2 / 3, 1.0)  # quantiles of each class that are shown


def evaluate(
  method: Method,
  states: Mapping[str, TrainState],
  dataset: spec.Dataset,
  config: Mapping[str, Any],
  workdir: Path,
) -> dict[str, Any]:
  """Scores the test split and writes scores, results, figures and a page.

  Of several processes all score, and the first one measures pixels and writes.

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
  trials = members.seeds(config["seed"], config["seeds"])
  ready = scorer.Scorer(
    method,
    states,
    config["evaluation"]["batch_size"],
    Devices(tuple(jax.devices()), config["parallel"]),
    len(trials),
  )
  with _Maps(test, len(trials), workdir) as maps:
    # Without masks the maps stay on the device.
    wanted = test.masks is not None and processes.first()
    found = ready.images(test.images, maps.take if wanted else None)
    scores = {name: found[name] for name in method.score_names}
    _check_finite(scores)
    summaries = {
      name: _summarize(test.labels, values, maps.summarize(name))
      for name, values in scores.items()
    }
  results = _results(method, scores, summaries, dataset, config, workdir)
  first = {name: values[:, 0] for name, values in scores.items()}
  shown = _gallery(test, first, ready)
  if processes.first():
    _write_scores(workdir / "scores.csv", test, scores, trials)
    _write_json(workdir / "results.json", results)
    drawn = _draw(workdir, test.labels, first, shown)
    page.write(workdir / "report.html", results, drawn)
  return results


class _Maps:
  """The pixel maps of a test set with masks, on disk while measured."""

  def __init__(self, test: spec.Split, seeds: int, workdir: Path):
    self._test, self._seeds = test, seeds
    self._folder = tempfile.TemporaryDirectory(dir=workdir, prefix="maps-")
    self._maps: dict[str, np.memmap] = {}

  def __enter__(self) -> "_Maps":
    return self

  def __exit__(self, *_) -> None:
    self._maps.clear()
    self._folder.cleanup()

  def take(self, start: int, maps: Mapping[str, np.ndarray]) -> None:
    """Keeps the maps [b s h w] of images from `start` on."""
    for name, values in maps.items():
      if name not in self._maps:
        shape = (self._seeds, len(self._test), *values.shape[2:])
        path = Path(self._folder.name) / name
        self._maps[name] = np.memmap(path, np.float32, "w+", shape=shape)
      stop = start + len(values)
      self._maps[name][:, start:stop] = np.moveaxis(values, 1, 0)

  def summarize(self, name: str) -> list[dict[str, Any]]:
    """Pixel metrics of each seed; none where there is no such map."""
    masks = self._test.masks
    if masks is None or name not in self._maps:
      return [{} for _ in range(self._seeds)]
    return [pixels.summarize(maps, masks) for maps in self._maps[name]]


def _summarize(
  labels: np.ndarray, scores: np.ndarray, pixel: list[dict[str, Any]]
) -> dict[str, Any]:
  """Metrics of a score [n s], over its seeds."""
  parts = zip(scores.T, pixel, strict=True)
  return spread.over_seeds([metrics.summarize(labels, s) | p for s, p in parts])


def _results(
  method, scores, summaries, dataset, config, workdir
) -> dict[str, Any]:
  return {
    "dataset": dataset.name,
    "method": config["method"],
    "config": config,
    "seed": config["seed"],
    "seeds": config["seeds"],
    "members": max(phase.members for phase in method.phases()),
    "data": {"fingerprint": dataset.fingerprint, "counts": dataset.counts},
    "training": Workdir(workdir).starts(),
    "evaluation": environment.describe(
      config.get("model", {}).get("precision", "float32")
    ),
    "weights": _weights(workdir),
    "seconds": writers.phase_seconds(workdir),
    "scores": summaries,
    "comparisons": _comparisons(dataset.splits["test"].labels, scores),
  }


def _weights(workdir: Path) -> dict[str, str]:
  path = workdir / WEIGHTS
  return json.loads(path.read_text()) if path.exists() else {}


def _comparisons(labels, scores) -> list[dict[str, Any]]:
  """The headline with each other score; of one training only."""
  *others, headline = scores
  if scores[headline].shape[1] > 1:
    return []
  return [
    {"a": headline, "b": other}
    | metrics.compare(labels, scores[headline][:, 0], scores[other][:, 0])
    for other in others
  ]


def _check_finite(scores: Mapping[str, np.ndarray]) -> None:
  bad = {k: int((~np.isfinite(v)).sum()) for k, v in scores.items()}
  if any(bad.values()):
    found = ", ".join(f"{k} ({n} images)" for k, n in bad.items() if n)
    raise UserError(
      f"some scores are not finite: {found}; the net has diverged, train again"
      " with a lower train.learning_rate or with train.grad_clip."
    )


def _write_scores(path: Path, test: spec.Split, scores, trials) -> None:
  """One row an image; with several seeds a column `name@seed` for each."""
  columns = {
    name if len(trials) == 1 else f"{name}@{trial.seed}": values[:, s]
    for name, values in scores.items()
    for s, trial in enumerate(trials)
  }
  with path.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "name", "label", *columns])
    rows = zip(test.names, test.labels, *columns.values(), strict=True)
    for at, (name, label, *values) in enumerate(rows):
      table.writerow([at, name, int(label), *(f"{v:.9g}" for v in values)])


def _write_json(path: Path, tree: Any) -> None:
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(tree, indent=2) + "\n")
  temporary.replace(path)


def _draw(workdir: Path, labels, scores, shown: list[figures.Row]):
  """Paths of the figures, in the order of the page."""
  folder = workdir / "figures"
  folder.mkdir(exist_ok=True)
  drawn = [folder / "gallery.png", folder / "roc.png"]
  drawn.append(folder / "precision_recall.png")
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


def _gallery(test, scores, ready: scorer.Scorer) -> list[figures.Row]:
  """Images from the lowest to the highest of the headline's scores."""
  names = list(scores)
  scores = scores[names[-1]]
  rows = _gallery_rows(test.labels, scores)
  found = ready.first_seed(test.images[np.asarray(rows)])
  kinds = {0: "normal", 1: "abnormal"}
  return [
    figures.Row(
      image=test.images[row],
      reconstruction=None
      if found.reconstruction is None
      else found.reconstruction[i],
      maps={k: found.maps[k][i] for k in names if k in found.maps},
      mask=None if test.masks is None else test.masks[row],
      caption=f"{test.names[row]}\n{kinds[int(test.labels[row])]},"
      f" score {scores[row]:.4g}",
    )
    for i, row in enumerate(rows)
  ]
