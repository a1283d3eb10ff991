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
from medad_jax.scoring import over_seeds
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
class Pair:
  """Two runs whose AUROC is compared, seed by seed.

  Attributes:
    run: group and title of the first one.
    other: the same of the run that is subtracted.
    of: the set of the first run that is compared with all of the other one;
      empty where their sets are compared one by one.
  """

  run: tuple[str, str]
  other: tuple[str, str]
  of: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
  """A line of the table.

  Attributes:
    group: as in `Entry`.
    title: as in `Entry`; "mean" for the group's.
    auroc: of each seed's mean, in [0, 1]; None where the run has failed.
    std: over seeds; None with one.
    published: as in `Entry`.
    failure: why there is no result.
    part: of several sets tested jointly, the one that the line is of; empty
      for all.
    per_seed: the AUROC of every seed.
  """

  group: str
  title: str
  auroc: float | None
  std: float | None = None
  published: float | None = None
  failure: str = ""
  part: str = ""
  per_seed: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gap:
  """A difference of two runs.

  Attributes:
    group: of the first run.
    title: of both.
    part: the set that is compared; empty for all.
    mean: of the differences in AUROC, in [-1, 1].
    low: lower end of its 95 % interval over seeds; None with one seed.
    high: upper end.
  """

  group: str
  title: str
  part: str
  mean: float
  low: float | None = None
  high: float | None = None


def reproduce(
  entries: Sequence[Entry],
  means: Mapping[str, float],
  workdir: Path,
  note: str,
  pairs: Sequence[Pair] = (),
) -> list[Line]:
  """Trains what is not yet trained, and prints the table.

  Args:
    entries: the runs.
    means: published means, by group.
    workdir: holds the runs' folders; gets table.csv, and differences.csv.
    note: said below the table, such as the sources of published values.
    pairs: which runs are compared.

  Returns:
    The table's lines.

  Raises:
    UserError: a run has failed; the others are trained nevertheless.
  """
  lines: list[Line] = []
  values: dict[str, list[float | None]] = {}
  for number, entry in enumerate(entries):
    name = " ".join(filter(None, (entry.group, entry.title)))
    print(f"run {number + 1} of {len(entries)}: {name}")
    # A failure is kept for the end: the other runs do not depend on it.
    found = _run(entry, folder_of(workdir, entry))
    jax.clear_caches()  # the next run has programs of its own
    lines += found
    # By sets, a run has several lines, and its first is for all of them.
    if entry.averaged:
      values.setdefault(entry.group, []).append(found[0].auroc)
  lines += [_mean(group, own, means) for group, own in values.items()]
  if processes.first():
    files.write(workdir / "table.csv", _csv(Line, lines))
    print("\n" + text(lines) + (f"\n\n{note}" if note else ""))
    gaps = [gap for pair in pairs for gap in compare(pair, lines)]
    if gaps:
      files.write(workdir / "differences.csv", _csv(Gap, gaps))
      print("\n" + text_of_gaps(gaps))
  failed = [line for line in lines if line.failure]
  if failed:
    raise UserError(
      f"{len(failed)} of {len(entries)} runs have failed; the first,"
      f" {failed[0].group} {failed[0].title}: {failed[0].failure}"
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
      ", ".join(filter(None, (line.title, line.part))),
      "failed" if line.failure else _value(line),
      table.number(line.published, 3),
    )
    for line in lines
  ]
  header = ("experiment", "", "AUROC", "published")
  return "\n".join(table.aligned(header, rows, right=2))


def compare(pair: Pair, lines: Sequence[Line]) -> list[Gap]:
  """The differences of a pair of runs; none where one of them has failed."""
  first, second = (
    {line.part: line for line in lines if (line.group, line.title) == run}
    for run in (pair.run, pair.other)
  )
  shared = [(part, part) for part in first if part in second]
  found = []
  for part, other in [(pair.of, "")] if pair.of else shared:
    values = [
      side[name].per_seed if name in side else ()
      for side, name in ((first, part), (second, other))
    ]
    if not values[0] or len(values[0]) != len(values[1]):
      continue
    mean, ends = over_seeds.paired(*values)
    title = f"{pair.run[1]}, less {_named(pair)}"
    found.append(Gap(pair.run[0], title, part, mean, *(ends or ())))
  return found


def text_of_gaps(gaps: Sequence[Gap]) -> str:
  """The differences for the terminal."""
  rows = []
  for gap in gaps:
    ends = ""
    if gap.low is not None:
      ends = f" [{gap.low:+.3f}, {gap.high:+.3f}]"
    part = gap.part or "all"
    rows.append((gap.group, gap.title, part, f"{gap.mean:+.3f}{ends}"))
  header = ("experiment", "", "", "difference in AUROC [95% CI]")
  return "\n".join(table.aligned(header, rows, right=1)) + (
    "\n\nIntervals are over seeds, paired, on the same test images."
  )


def _named(pair: Pair) -> str:
  """The other run, with its group where that is another one."""
  group, title = pair.other
  return (
    title if group == pair.run[0] else group.removeprefix(f"{pair.run[0]}, ")
  )


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
  lines = [_line(entry, "", found.main, entry.published)]
  return lines + [
    _line(entry, name, one, None) for name, one in found.sets.items()
  ]


def _line(
  entry: Entry, part: str, found: results.TestSet, published: float | None
) -> Line:
  score = list(found.scores.values())[-1]  # the headline
  auroc, std = score.ranking.auroc, None
  per_seed: tuple[float | None, ...] = (auroc,)
  if score.over_seeds:
    spread = score.over_seeds["auroc"]
    auroc, std, per_seed = spread.mean, spread.std, spread.per_seed
  return Line(
    entry.group,
    entry.title,
    auroc,
    std,
    published,
    part=part,
    # Of a set with images of one class there is none.
    per_seed=tuple(value for value in per_seed if value is not None),
  )


def _mean(
  group: str, values: Sequence[float | None], means: Mapping[str, float]
) -> Line:
  """The group's mean; none where a run of it has failed."""
  own = [value for value in values if value is not None]
  mean = float(np.mean(own)) if len(own) == len(values) else None
  return Line(group, "mean", mean, None, means.get(group))


def _csv(kind: type, rows: Sequence[Any]) -> str:
  file = io.StringIO()
  out = csv.writer(file, lineterminator="\n")
  names = [field.name for field in dataclasses.fields(kind)]
  out.writerow(names)
  for row in rows:
    cells = (getattr(row, name) for name in names)
    out.writerow(
      [
        " ".join(map(repr, cell)) if isinstance(cell, tuple) else cell
        for cell in cells
      ]
    )
  return file.getvalue()


def _value(line: Line) -> str:
  spread = "" if line.std is None else f" ± {table.number(line.std, 3)}"
  return table.number(line.auroc, 3) + spread
