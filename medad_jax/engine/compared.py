"""Runs of ours and of others, read and put beside published values."""

from collections.abc import Iterator, Sequence
import csv
import itertools
import json
from pathlib import Path

import numpy as np

from medad_jax import files, published
from medad_jax.data import columns
from medad_jax.engine import cells, comparison, outside
from medad_jax.engine.config import decisive
from medad_jax.report import comparison as report
from medad_jax.report import results
from medad_jax.scoring import by_patient, intervals
from medad_jax.types import UserError

_Run = tuple[results.Results, Path]


def compared(
  words: Sequence[str],
) -> tuple[list[report.Line], list[report.Pair]]:
  """Lines of all runs by set and method, and differences between ours.

  Raises:
    UserError: one of them cannot be read.
  """
  ours: dict[str, list[_Run]] = {}
  theirs: dict[tuple[str, str, str], list[tuple[str, outside.Training]]] = {}
  for word in words:
    text, _, named = word.partition("@")
    path = files.expanded(text)
    # Ours first: a folder may hold both, as where theirs was imported.
    if (path / "results.json").exists():
      found = results.Results.load(path / "results.json")
      # Where and how it ran is no difference, nor is the seed.
      fields = {**decisive(found.config), "seed": None, "seeds": None}
      ours.setdefault(json.dumps(fields, sort_keys=True), []).append(
        (found, path)
      )
      continue
    if not path.exists():
      raise UserError(f"{path} is not there; give a folder of a run.")
    dataset, _, method = named.partition("/")
    for one in outside.read(path, dataset, method):
      for key in one.values:
        theirs.setdefault((one.dataset, *key), []).append((text, one))
  made = [line for runs in ours.values() for line in _ours(runs)]
  made += [_theirs(*key, found) for key, found in theirs.items()]
  made.sort(key=lambda line: (line.dataset, line.method))
  pairs = itertools.combinations(ours.values(), 2)
  return made, [pair for a, b in pairs for pair in _pair(a, b)]


def _pair(a: Sequence[_Run], b: Sequence[_Run]) -> Iterator[report.Pair]:
  """The difference of two runs' headlines; none on other images."""
  found = []
  for runs in (a, b):
    (first, folder), *_ = runs
    *_, headline = first.main.scores
    each = [comparison.scores_of(f / "scores.csv", headline) for _, f in runs]
    if None in each:
      return
    trained = [column for one in each if one for column in one[1]]
    of = f"{folder.name} ({headline})"
    found.append((of, names_of(folder), each[0], trained, folder))
  (one, names, known, x, folder), (other, again, _, y, _) = found
  # By name and order, since images of other sizes are the same ones.
  if names != again or len(x[0]) != len(y[0]) or known is None:
    return
  labels, ours, others = np.array(known[0]), np.array(x).T, np.array(y).T
  patients = columns.patients(texts_of(folder))
  if patients is None:
    kinds = (0, 1)
    split = [
      tuple(each[labels == kind] for kind in kinds) for each in (ours, others)
    ]
    difference = intervals.mean_auroc_difference(*split)
  else:
    difference = by_patient.auroc_difference(labels, ours, others, patients)
  if difference:
    by = "image" if patients is None else "patient"
    yield report.Pair(one, other, *difference, by)


def names_of(folder: Path) -> tuple[str, ...]:
  """The names of a run's test images, as its scores.csv has them."""
  return tuple(map(cells.path, _column(folder, "name")))


def texts_of(folder: Path) -> dict[str, tuple[str, ...]]:
  """Patients and sets of a run's test images, as far as they are known."""
  found = {
    columns.PATIENT: map(cells.text, _column(folder, columns.PATIENT)),
    columns.SET: _column(folder, columns.SET),
  }
  texts = {name: tuple(column) for name, column in found.items()}
  return {name: column for name, column in texts.items() if column}


def _column(folder: Path, title: str) -> list[str]:
  """A column of a run's scores; nothing where there is none."""
  with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
    return [row[title] for row in csv.DictReader(file) if title in row]


def _ours(runs: Sequence[_Run]) -> list[report.Line]:
  found, folder = runs[0]
  # A method that no table has still has its own numbers.
  nearest = comparison.row_of(found.config)
  if nearest is None:
    return comparison.lines(runs, folder.name, ())
  row, departs = nearest
  return comparison.lines(runs, folder.name, row.scores, row.dataset, departs)


def _theirs(
  dataset: str,
  method: str,
  metric: str,
  found: Sequence[tuple[str, outside.Training]],
) -> report.Line:
  """One line of somebody else's trainings."""
  key = method, metric
  return report.Line(
    found[0][0],
    dataset,
    method,
    metric,
    # Trainings that have one name are seeds of one run.
    tuple(one.values[key] for _, one in found),
    found[0][1].ends.get(key) if len(found) == 1 else None,
    tuple(published.find(dataset, method, metric)),
  )
