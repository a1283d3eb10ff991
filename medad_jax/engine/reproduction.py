"""A table of runs, trained one after another and set beside published values.

Each run has a work folder of its own, WORKDIR/GROUP/TITLE, and several seeds of
it are trials of one program. What has finished is read and not trained again.
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import io
from pathlib import Path
import re
from typing import Any

import jax
import numpy as np

from medad_jax import files
from medad_jax.engine import experiment, processes
from medad_jax.engine.workdir import decisive
from medad_jax.report import results, table
from medad_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class Entry:
  """A run of a table.

  Attributes:
    group: of runs that belong together.
    title: of the run in its group.
    config: its configuration.
    published: AUROC in [0, 1]; None where none is known.
    averaged: whether the group's mean is of interest, as over classes.
  """

  group: str
  title: str
  config: Mapping[str, Any]
  published: float | None = None
  averaged: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of the table.

  Attributes:
    group: as in `Entry`.
    title: as in `Entry`, with the set of several; "mean" for the group's.
    auroc: of each seed's mean, in [0, 1]; None where the run has failed.
    std: over seeds; None with one.
    published: as in `Entry`.
    failure: why there is no result.
  """

  group: str
  title: str
  auroc: float | None
  std: float | None = None
  published: float | None = None
  failure: str = ""


def reproduce(
  entries: Sequence[Entry],
  means: Mapping[str, float],
  workdir: Path,
  note: str,
) -> list[Line]:
  """Trains what is not yet trained, and prints the table.

  Args:
    entries: the runs.
    means: published means, by group.
    workdir: holds the runs' folders; gets table.csv.
    note: said below the table, such as the sources of published values.

  Returns:
    The table's lines.

  Raises:
    UserError: a run has failed; the others are trained nevertheless.
  """
  lines: list[Line] = []
  values: dict[str, list[float | None]] = {}
  for number, entry in enumerate(entries):
    print(f"run {number + 1} of {len(entries)}: {_name(entry)}")
    # A failure is kept for the end: the other runs do not depend on it.
    found = _run(entry, folder_of(workdir, entry))
    jax.clear_caches()  # the next run has programs of its own
    lines += found
    # By sets, a run has several lines, and its first is for all of them.
    if entry.averaged:
      values.setdefault(entry.group, []).append(found[0].auroc)
  lines += [_mean(group, own, means) for group, own in values.items()]
  if processes.first():
    files.write(workdir / "table.csv", _csv(lines))
    print("\n" + text(lines) + (f"\n\n{note}" if note else ""))
  failed = [line for line in lines if line.failure]
  if failed:
    raise UserError(
      f"{len(failed)} of {len(entries)} runs have failed; the first,"
      f" {_name(failed[0])}: {failed[0].failure}"
    )
  return lines


def folder_of(workdir: Path, entry: Entry) -> Path:
  """The run's folder."""
  parts = [re.sub(r"\W+", "_", part) for part in (entry.group, entry.title)]
  return workdir.joinpath(*filter(None, parts))


def text(lines: Sequence[Line]) -> str:
  """The table for the terminal."""
  rows = [
    (
      line.group,
      line.title,
      "failed" if line.failure else _value(line),
      table.number(line.published, 3),
    )
    for line in lines
  ]
  header = ("experiment", "", "AUROC", "published")
  return "\n".join(table.aligned(header, rows, right=2))


def _name(one: Entry | Line) -> str:
  return " ".join(filter(None, (one.group, one.title)))


def _run(entry: Entry, folder: Path) -> list[Line]:
  path = folder / "results.json"
  try:
    # The evaluation writes them last: with them the run has finished.
    found = results.Results.load(path) if path.exists() else None
    if found is None or decisive(found.config) != decisive(entry.config):
      # Goes on, or refuses a folder of another configuration.
      found = experiment.train_and_evaluate(entry.config, folder)
    if found is None:
      raise UserError("its data set has no test images to compare by.")
  except UserError as error:
    nothing = Line(entry.group, entry.title, None, None, entry.published)
    return [dataclasses.replace(nothing, failure=str(error))]
  lines = [_line(entry, entry.title, found.main, entry.published)]
  return lines + [
    _line(entry, f"{entry.title}, {name}", one, None)
    for name, one in found.sets.items()
  ]


def _line(
  entry: Entry, title: str, found: results.TestSet, published: float | None
) -> Line:
  score = list(found.scores.values())[-1]  # the headline
  if score.over_seeds:
    spread = score.over_seeds["auroc"]
    return Line(entry.group, title, spread.mean, spread.std, published)
  return Line(entry.group, title, score.ranking.auroc, None, published)


def _mean(
  group: str, values: Sequence[float | None], means: Mapping[str, float]
) -> Line:
  """The group's mean; none where a run of it has failed."""
  own = [value for value in values if value is not None]
  mean = float(np.mean(own)) if len(own) == len(values) else None
  return Line(group, "mean", mean, None, means.get(group))


def _csv(lines: Sequence[Line]) -> str:
  file = io.StringIO()
  out = csv.writer(file, lineterminator="\n")
  names = [field.name for field in dataclasses.fields(Line)]
  out.writerow(names)
  out.writerows([[getattr(line, name) for name in names] for line in lines])
  return file.getvalue()


def _value(line: Line) -> str:
  spread = "" if line.std is None else f" ± {table.number(line.std, 3)}"
  return table.number(line.auroc, 3) + spread
