"""Evaluation: score, measure, write; all from a trained model.

Figures and the page are drawn elsewhere (`report.draw`), from what is returned.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax import files
from medad_jax.data import columns, preparation, spec
from medad_jax.engine import (
  alarms,
  arrays,
  environment,
  latents,
  processes,
  score_table,
  scorer,
  writers,
)
from medad_jax.engine.trained import Trained
from medad_jax.engine.workdir import Workdir
from medad_jax.report import draw
from medad_jax.report.results import Comparison, Results, Score, TestSet
from medad_jax.scoring import evaluators, metrics, over_seeds
from medad_jax.types import UserError

WEIGHTS = "weights.json"  # in the workdir: where pretrained weights are from
SAVED = ("maps", "reconstructions", "latents")  # what --save may name
_MAIN = "test"  # the split that is the main test set
_MAP, _RECONSTRUCTION, _LATENTS = "map ", "reconstruction", "latents"

# Scores [n s] by name.
Found = Mapping[str, np.ndarray]


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
  others = [name for name in dataset.splits if spec.is_further_test(name)]
  sets: dict[str, TestSet] = {}
  shown: Any = None
  wanted = trained.settings.evaluation
  headline = trained.method.score_names[-1]
  # A threshold needs no test image: it is known before the first one is scored.
  flagging = alarms.of_run(folder.path, headline, wanted)
  for name in (_MAIN, *others):
    split = dataset.splits[name].center(trained.shape[0])
    measured, drawn = _evaluate_set(trained, split, name, out, save, flagging)
    sets |= measured
    shown = drawn if name == _MAIN else shown
  results = _results(trained, sets, dataset, folder)
  if results.seeds == 1 and headline in shown.scores:
    points = alarms.describe(
      next(iter(flagging), None),
      shown.labels,
      shown.scores[headline],
      dataset.splits[_MAIN].columns,
      wanted.prevalence,
    )
    results = dataclasses.replace(results, operating=points)
  if processes.first():
    results.save(out / "results.json")
  return results, shown


def check_save(save: Sequence[str]) -> None:
  """Raises UserError unless every name is one of `SAVED`."""
  if unknown := [name for name in save if name not in SAVED]:
    raise UserError(
      f"--save={','.join(unknown)} was given; choose among {', '.join(SAVED)}."
    )


def _evaluate_set(
  trained: Trained,
  test: spec.Split,
  name: str,
  out: Path,
  save: Sequence[str],
  flagging: Sequence[alarms.Alarms],
) -> tuple[dict[str, TestSet], Any]:
  """The results of a test split, and what figures show of the main one.

  The split's own results come first, under its name. Of several joined sets
  those of each follow, under the names of split and set, and those of each
  organ and modality of several sets.
  """
  suffix, shown = name.removeprefix(_MAIN), None
  # On disk, as maps add up: 2.5 GB for 10,000 images of 64x64 pixels, three
  # maps and five seeds.
  with arrays.Arrays(out, len(test)) as kept:
    scores = _score(trained, test, kept, save)
    _check_finite(scores)
    if processes.first():
      # Before anything is measured: a metric that fails must not cost the
      # scores.
      path = out / f"scores{suffix}.csv"
      text = score_table.write(test, scores, trained.trials, flagging)
      files.write(path, text)
    truth = evaluators.Truth(
      test.labels, test.masks, columns.patients(test.columns)
    )
    whole, per_seed = _measure_all(truth, scores, kept)
    found = {name: whole}
    for one, rows in columns.groups(test.columns).items():
      found[f"{name}_{one}"], _ = _measure_all(truth, scores, kept, rows)
    if processes.first():
      _save(kept, out, suffix, save, len(trained.trials))
    # Inside the block: the arrays' files are gone after it.
    if name == _MAIN:
      shown = draw.Shown(
        labels=test.labels,
        scores={k: values[:, 0] for k, values in scores.items()},
        rankings={k: parts[0].ranking for k, parts in per_seed.items()},
        gallery=_gallery(test, scores, kept),
        latents=latents.by_class(trained, test, _read(kept, _LATENTS)),
      )
  return found, shown


def _measure_all(
  truth: evaluators.Truth,
  scores: Found,
  kept: arrays.Arrays,
  rows: np.ndarray | None = None,
) -> tuple[TestSet, dict[str, list[Score]]]:
  """Results of a test set or of some of its rows; also of every seed."""
  if rows is not None:
    truth, scores = truth.some(rows), {k: v[rows] for k, v in scores.items()}

  def maps(name: str, seed: int) -> np.ndarray | None:
    found = _map(kept, name, seed)
    return found if found is None or rows is None else found[rows]

  per_seed = {
    name: [
      _measure(truth, values[:, s], maps(name, s))
      for s in range(values.shape[1])
    ]
    for name, values in scores.items()
  }
  found = TestSet(
    {name: _over_seeds(parts) for name, parts in per_seed.items()},
    tuple(_comparisons(truth, scores)),
  )
  return found, per_seed


def _score(
  trained: Trained, test: spec.Split, kept: arrays.Arrays, save: Sequence[str]
) -> dict[str, np.ndarray]:
  """Scores [n s] by name; the first process keeps the arrays."""
  parts = []
  names = trained.method.score_names
  for count, found in trained.batches(test.images, test.columns):
    parts.append(scorer.on_host(found.scores.image, count))
    chosen = _chosen(found, test, save)
    _check_made(chosen, save)  # at the first batch, in all processes
    if processes.first():
      kept.append(scorer.on_host(chosen, count))
  # A run that stopped after a stage lacks the scores of later ones.
  there = [name for name in names if name in parts[0]]
  return {name: np.concatenate([p[name] for p in parts]) for name in there}


def _chosen(
  found: scorer.Scored, test: spec.Split, save: Sequence[str]
) -> dict[str, Any]:
  """Arrays to keep of a batch, [b s ...]; of all seeds only where needed.

  The gallery shows maps and reconstructions of the first seed.
  """
  # Without masks nothing measures maps, and the gallery needs one seed's.
  all_maps = test.masks is not None or "maps" in save
  chosen = {
    f"{_MAP}{name}": values if all_maps else values[:, :1]
    for name, values in found.scores.maps.items()
  }
  if (values := found.scores.reconstruction) is not None:
    every = "reconstructions" in save
    chosen[_RECONSTRUCTION] = values if every else values[:, :1]
  if found.latents is not None:
    every = "latents" in save
    chosen[_LATENTS] = found.latents if every else found.latents[:, :1]
  return chosen


def _check_made(chosen: Iterable[str], save: Sequence[str]) -> None:
  """Raises UserError where the method does not make what is to be saved."""
  made = sorted({_kind(name) for name in chosen})
  if absent := [kind for kind in save if kind not in made]:
    raise UserError(
      f"--save={','.join(absent)} was given, but the method makes none; it"
      f" makes {', '.join(made) or 'nothing but scores'}."
    )


def _kind(name: str) -> str:
  """One of `SAVED`, from the name of a kept array."""
  # By the first word: "map rec" is of "maps", "reconstruction" of
  # "reconstructions".
  return next(kind for kind in SAVED if kind.startswith(name.split()[0]))


def _read(kept: arrays.Arrays, name: str) -> np.ndarray | None:
  return kept.read(name) if name in kept.names() else None


def _map(kept: arrays.Arrays, name: str, seed: int) -> np.ndarray | None:
  """The maps [n h w] of a score and a seed, where they were kept."""
  maps = _read(kept, f"{_MAP}{name}")
  if maps is None:
    return None
  # Without masks only the first seed's maps were kept.
  return maps[:, seed] if seed < maps.shape[1] else None


def _measure(
  truth: evaluators.Truth, scores: np.ndarray, maps: np.ndarray | None
) -> Score:
  """Every evaluator's metrics of one score of one training."""
  return Score(
    **{
      name: evaluator(truth, scores, maps)
      for name, evaluator in evaluators.EVALUATORS.items()
    }
  )


def _over_seeds(scores: Sequence[Score]) -> Score:
  """The metrics of several trainings as one summary."""
  spreads: dict[str, over_seeds.Spread] = {}
  values = {}
  for name in evaluators.EVALUATORS:
    parts = [getattr(score, name) for score in scores]
    if parts[0] is not None:
      values[name], spread = over_seeds.over_seeds(parts)
      spreads |= spread
  return Score(**values, over_seeds=spreads)


def _comparisons(
  truth: evaluators.Truth, scores: Found
) -> Iterable[Comparison]:
  """The headline with each other score; of one training only."""
  *others, headline = scores
  # DeLong's test knows the sampling of images, not variation over seeds.
  if scores[headline].shape[1] > 1:
    return
  for other in others:
    found = metrics.compare(
      truth.labels,
      scores[headline][:, 0],
      scores[other][:, 0],
      truth.patients,
    )
    yield Comparison(headline, other, *(found or (None, None, None)))


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
    data={"fingerprint": dataset.fingerprint, "counts": dict(dataset.counts)},
    trained=tuple(folder.starts()),
    evaluated=environment.describe(_precision(trained.config)),
    weights=_weights(folder.path),
    seconds=writers.phase_seconds(folder.path),
    main=main,
    sets=further,
  )


def _precision(config: Mapping[str, Any]) -> str:
  """The precision of the products, as the configuration names it."""
  return config.get("model", {}).get("precision", "float32")


def _weights(workdir: Path) -> dict[str, str]:
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
  kept: arrays.Arrays, out: Path, suffix: str, save: Sequence[str], seeds: int
) -> None:
  """Writes arrays as .npy files, [n ...] or, of several seeds, [n s ...]."""
  for name in kept.names():
    if (kind := _kind(name)) in save:
      stem = "_".join((kind, *name.split()[1:]))
      values = kept.read(name)
      with files.replacing(out / f"{stem}{suffix}.npy") as file:
        # One seed is the usual case, and its readers should not have to drop an
        # axis.
        np.save(file, values[:, 0] if seeds == 1 else values)


def _gallery(
  test: spec.Split, scores: Found, kept: arrays.Arrays
) -> list[draw.Row]:
  """Images from the lowest to the highest of the headline's scores."""
  # The other processes kept no arrays.
  if not processes.first():
    return []
  *_, headline = scores.values()
  kinds = {0: "normal", 1: "abnormal"}
  maps = {name: _map(kept, name, 0) for name in scores}
  x_hat = _read(kept, _RECONSTRUCTION)
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
    for row in draw.gallery_rows(test.labels, headline[:, 0])
  ]
