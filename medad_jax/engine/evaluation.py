"""Evaluation: score, measure, write; all from a trained model.

Figures and the page are drawn elsewhere (`report.draw`), from what is returned.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax import files
from medad_jax.data import columns, index, preparation, spec
from medad_jax.engine import (
  alarms,
  arrays,
  environment,
  kept,
  latents,
  measuring,
  processes,
  score_table,
  writers,
)
from medad_jax.engine.kept import SAVED, Found
from medad_jax.engine.trained import Trained
from medad_jax.engine.workdir import Workdir
from medad_jax.report import draw
from medad_jax.report.results import Results, TestSet
from medad_jax.types import UserError

WEIGHTS = "weights.json"  # in the workdir: where pretrained weights are from
_MAIN = "test"  # the split that is the main test set


def evaluate(
  trained: Trained,
  dataset: spec.Dataset,
  folder: Workdir,
  out: Path,
  save: Sequence[str] = (),
) -> tuple[Results, draw.Shown]:
  """Scores the test sets and writes scores, results and what is to be saved.

  Every image is scored once, the middle of one that is stored larger. In a run
  of several processes all of them score, and the first one measures maps and
  writes.

  Args:
    trained: what scores.
    dataset: holds the split 'test', the main test set, and perhaps further
      ones whose names begin with 'test_'. Where a split is of several sets,
      each of them is also measured by itself.
    folder: the run's, which is only read.
    out: where the files go.
    save: of `SAVED`, the arrays to write beside scores.csv.

  Returns:
    What `results.json` holds, and what the figures show of the main test set.

  Raises:
    UserError: a score is not finite, or something cannot be written.
  """
  # Checked again before hours of scoring: not every caller is a binary.
  check_save(save)
  if processes.first():
    files.make_folder(out)
  names = (_MAIN, *filter(spec.is_further_test, dataset.splits))
  # Thresholds of maps are the main set's, also where only others have masks.
  marked = any(dataset.splits[k].masks is not None for k in names)
  sets: dict[str, TestSet] = {}
  shown: Any = None
  # A threshold needs no test image: it is known before the first one is scored.
  flagging = _flagging(trained, folder)
  healthy: measuring.Normal | None = None
  for name in names:
    test = dataset.splits[name].center(trained.shape[0])
    # On disk, as maps add up: 2.5 GB for 10,000 images of 64x64 pixels, three
    # maps and five seeds.
    with arrays.Arrays(out, len(test)) as room:
      seen = kept.score(trained, test, room, save, marked)
      path = out / f"scores{_suffix(name)}.csv"
      _keep_scores(trained, test, seen, path, flagging)
      if healthy is None:
        healthy = measuring.normal(test, seen, trained.method)
      measured, drawn = _measure_set(trained, test, seen, healthy, name)
      sets |= measured
      if processes.first():
        _save(seen, out, _suffix(name), save, len(trained.trials))
      shown = drawn or shown
  results = _results(trained, sets, dataset, folder)
  results = _with_operating(results, shown, dataset, trained, flagging)
  if processes.first():
    results.save(out / "results.json")
  return results, shown


def _keep_scores(
  trained: Trained,
  test: spec.Split,
  seen: kept.Kept,
  path: Path,
  flagging: Sequence[alarms.Alarms],
) -> None:
  """Writes the scores before anything is measured, which may fail."""
  _check_finite(seen.scores)
  if processes.first():
    table = score_table.write(test, seen.scores, trained.trials, flagging)
    files.write(path, table)


def _flagging(trained: Trained, folder: Workdir) -> Sequence[alarms.Alarms]:
  headline = trained.method.score_names[-1]
  return alarms.of_run(folder.path, headline, trained.settings.evaluation)


def _with_operating(
  results: Results,
  shown: draw.Shown,
  dataset: spec.Dataset,
  trained: Trained,
  flagging: Sequence[alarms.Alarms],
) -> Results:
  """The results with operating points of the headline, of one training."""
  headline = trained.method.score_names[-1]
  # A run that stopped after a stage may lack it.
  if results.seeds > 1 or headline not in shown.scores:
    return results
  points = alarms.describe(
    next(iter(flagging), None),
    shown.labels,
    shown.scores[headline],
    dataset.splits[_MAIN].columns,
    trained.settings.evaluation.prevalence,
  )
  return dataclasses.replace(results, operating=points)


def check_save(save: Sequence[str]) -> None:
  """Raises UserError unless every name is one of `SAVED`."""
  if unknown := [name for name in save if name not in SAVED]:
    raise UserError(
      f"--save={','.join(unknown)} was given; choose among {', '.join(SAVED)}."
    )


def _measure_set(
  trained: Trained,
  test: spec.Split,
  seen: kept.Kept,
  healthy: measuring.Normal,
  name: str,
) -> tuple[dict[str, TestSet], draw.Shown | None]:
  """The results of a test split, and what figures show of the main one.

  The split's own results come first, under its name. Of several joined sets
  those of each follow, under the names of split and set, and those of each
  organ and modality of several sets. Last are those without images that the
  run was trained on, too.
  """
  whole, per_seed = measuring.measure(test, seen, healthy)
  found = {name: whole}
  for one, rows in columns.groups(test.columns).items():
    found[f"{name}_{one}"], _ = measuring.measure(test, seen, healthy, rows)
  pools = [p for s in trained.method.phases() for p in s.pools]
  known = index.splits_used(pools)
  apart = columns.without_twins(test.columns, known, len(test))
  for one, rows in apart.items():
    if len({*test.labels[rows].tolist()}) == 2:
      found[f"{name}_{one}"], _ = measuring.measure(test, seen, healthy, rows)
  if name != _MAIN:
    return found, None
  # The arrays' files are gone after the evaluation of the set.
  return found, draw.Shown(
    labels=test.labels,
    scores={k: values[:, 0] for k, values in seen.scores.items()},
    rankings={k: parts[0].ranking for k, parts in per_seed.items()},
    gallery=_gallery(test, seen, draw.gallery_rows),
    worst=_gallery(test, seen, draw.worst_rows),
    latents=latents.by_class(trained, test, seen.read(kept.LATENTS)),
  )


def _suffix(name: str) -> str:
  """Ending of the names of a test split's files."""
  return name.removeprefix(_MAIN)


def _results(
  trained: Trained,
  sets: Mapping[str, TestSet],
  dataset: spec.Dataset,
  folder: Workdir,
) -> Results:
  further = {k.removeprefix(f"{_MAIN}_"): v for k, v in sets.items()}
  main = further.pop(_MAIN)
  return Results(
    dataset=dataset.name,
    method=trained.config["method"],
    config=trained.config,
    seed=trained.config["seed"],
    seeds=trained.config["seeds"],
    members=max(phase.members for phase in trained.method.phases()),
    data={
      "fingerprint": dataset.fingerprint,
      "counts": dict(dataset.counts),
      "audit": {name: dict(found) for name, found in dataset.audits.items()},
    },
    trained=tuple(folder.starts()),
    evaluated=environment.describe(_precision(trained.config)),
    weights=weights_of(folder.path),
    seconds=writers.phase_seconds(folder.path),
    main=main,
    sets=further,
  )


def _precision(config: Mapping[str, Any]) -> str:
  """The precision of the products, as the configuration names it."""
  return config.get("model", {}).get("precision", "float32")


def weights_of(workdir: Path) -> dict[str, str]:
  """Origins of a run's pretrained weights by name; none where there are none.

  Raises:
    UserError: the record is damaged.
  """
  path = workdir / WEIGHTS
  remedy = "remove it, and run the training command again"
  return files.read_json(path, remedy) if path.exists() else {}


def _check_finite(scores: Found) -> None:
  bad = {k: int((~np.isfinite(v)).sum()) for k, v in scores.items()}
  if any(bad.values()):
    found = ", ".join(f"{k} ({n} images)" for k, n in bad.items() if n)
    raise UserError(
      f"some scores are not finite: {found}; the net has diverged, train again"
      " with a lower train.learning_rate or with train.grad_clip."
    )


def _save(
  seen: kept.Kept, out: Path, suffix: str, save: Sequence[str], seeds: int
) -> None:
  """Writes arrays as .npy files, [n ...] or, of several seeds, [n s ...]."""
  for stem, values in seen.to_save(save).items():
    with files.replacing(out / f"{stem}{suffix}.npy") as file:
      # One seed is the usual case, and its readers should not have to drop an
      # axis.
      np.save(file, values[:, 0] if seeds == 1 else values)


def _gallery(
  test: spec.Split, seen: kept.Kept, choose: Callable[..., list[int]]
) -> list[draw.Row]:
  """Images that are chosen by their labels and the headline's scores."""
  # The other processes kept no arrays.
  if not processes.first():
    return []
  *_, headline = seen.scores.values()
  kinds = {0: "normal", 1: "abnormal"}
  maps = {name: seen.maps(name, 0) for name in seen.scores}
  x_hat = seen.read(kept.RECONSTRUCTION)
  # Copies: the files are gone when the figures are drawn.
  return [
    draw.Row(
      image=preparation.to_uint8(np.array(test.images[row])),
      reconstruction=None if x_hat is None else np.array(x_hat[row, 0]),
      maps={k: np.array(v[row]) for k, v in maps.items() if v is not None},
      mask=None if test.masks is None else np.array(test.masks[row]),
      caption=f"{test.names[row]}\n{kinds[int(test.labels[row])]},"
      f" score {headline[row, 0]:.4g}",
    )
    for row in choose(test.labels, headline[:, 0])
  ]
