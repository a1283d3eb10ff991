"""Runs of ours and of others, read and put beside published values."""

from collections.abc import Sequence
import json
from pathlib import Path

from medad_jax import files, published
from medad_jax.engine import comparison, outside
from medad_jax.engine.workdir import decisive
from medad_jax.report import comparison as report
from medad_jax.report import results
from medad_jax.types import UserError


def compared(words: Sequence[str]) -> list[report.Line]:
  """The lines of all runs, sorted by set, method and metric.

  Raises:
    UserError: one of them cannot be read.
  """
  ours: dict[str, list[tuple[results.Results, Path]]] = {}
  theirs: dict[tuple[str, str], list[tuple[str, outside.Training]]] = {}
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
  return sorted(made, key=lambda line: (line.dataset, line.method))


def _ours(
  runs: Sequence[tuple[results.Results, Path]],
) -> list[report.Line]:
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
