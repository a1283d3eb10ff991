"""A table of runs, trained one after another and set beside published values.

Each run has a work folder of its own, WORKDIR/GROUP/TITLE, and several seeds of
it are trials of one program. What has finished is read and not trained again.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from pathlib import Path
import re
from typing import Any

import jax

from medad_jax import files
from medad_jax.engine import comparison, costs, experiment, processes
from medad_jax.engine.config import decisive
from medad_jax.engine.trained import Trained
from medad_jax.report import comparison as report
from medad_jax.report import paired, reproduced, results
from medad_jax.types import UserError

_COSTS = "costs.json"


@dataclasses.dataclass(frozen=True)
class Entry:
  """A run of a table.

  Attributes:
    group: of runs that belong together.
    title: of the run in its group.
    config: its configuration.
    averaged: whether the group's mean is of interest, as over classes.
    scores: its scores and what `published` calls them; "" is the headline.
    dataset: what `published` calls its set; "" as the configuration does.
    protocol: how it departs from the published protocol; or nothing.
    apart: whether it is one of several runs, which differ in their seeds and
      are one line; the last part of its title is then its own.
  """

  group: str
  title: str
  config: Mapping[str, Any]
  averaged: bool = False
  scores: tuple[tuple[str, str], ...] = ()
  dataset: str = ""
  protocol: str = ""
  apart: bool = False

  @property
  def name(self) -> str:
    """Group and title."""
    return " ".join(filter(None, (self.group, self.title)))

  @property
  def pooled(self) -> str:
    """The name that it has in common with runs of other seeds."""
    title = self.title.rpartition("/")[0] if self.apart else self.title
    return " ".join(filter(None, (self.group, title)))


def reproduce(
  entries: Sequence[Entry],
  workdir: Path,
  title: str,
  notes: Sequence[str] = (),
  pairs: Sequence[paired.Pair] = (),
) -> list[report.Line]:
  """Trains what is not yet trained, and prints the table.

  Args:
    entries: the runs.
    workdir: holds the runs' folders; gets page.md, table.csv and table.png,
      and differences.csv of pairs.
    title: of the page.
    notes: sentences below it.
    pairs: of runs that are compared, by their entries' names.

  Returns:
    The table's lines.

  Raises:
    UserError: a run has failed; the others are trained nevertheless.
  """
  found: dict[str, results.Results] = {}
  failed: dict[str, list[report.Line]] = {}
  for number, entry in enumerate(entries):
    print(f"run {number + 1} of {len(entries)}: {entry.name}")
    # A failure is kept for the end: the other runs do not depend on it.
    try:
      found[entry.name] = _run(entry, folder_of(workdir, entry))
    except UserError as error:
      failed.setdefault(entry.group, []).append(_failure(entry, str(error)))
    jax.clear_caches()  # the next run has programs of its own
  lines: list[report.Line] = []
  for group, own in _by(entries, "group").items():
    made = [
      line
      for same in _by(own, "pooled").values()
      for line in _lines([e for e in same if e.name in found], found, workdir)
    ]
    lines += made + failed.get(group, [])
    # A mean over some of the classes would be another number.
    if own[0].averaged and group not in failed:
      lines += comparison.means(made)
  if processes.first():
    gaps = paired.gaps(pairs, found)
    if gaps:
      files.write(workdir / "differences.csv", paired.csv_text(gaps))
    said = [*notes, *paired.sentences(gaps)]
    _write(workdir, title, lines, found, said)
  if failures := [line for line in lines if line.failure]:
    raise UserError(
      f"{len(failures)} of {len(entries)} runs have failed; the first,"
      f" {failures[0].run}: {failures[0].failure}"
    )
  return lines


def folder_of(workdir: Path, entry: Entry) -> Path:
  """The run's folder."""
  parts = [re.sub(r"\W+", "_", part) for part in (entry.group, entry.title)]
  return workdir.joinpath(*filter(None, parts))


def _run(entry: Entry, folder: Path) -> results.Results:
  path = folder / "results.json"
  # The evaluation writes them last: with them the run has finished.
  found = results.Results.load(path) if path.exists() else None
  if found is None or decisive(found.config) != decisive(entry.config):
    # Goes on, or refuses a folder of another configuration.
    found = experiment.train_and_evaluate(entry.config, folder)
  if found is None:
    raise UserError("its data set has no test images to compare by.")
  # Part of a method has not all scores, and so no costs of scoring.
  if entry.config["until"] is None:
    _costs(folder)
  return found


def _by(entries: Sequence[Entry], field: str) -> dict[str, list[Entry]]:
  found: dict[str, list[Entry]] = {}
  for entry in entries:
    found.setdefault(getattr(entry, field), []).append(entry)
  return found


def _lines(
  entries: Sequence[Entry],
  found: Mapping[str, results.Results],
  workdir: Path,
) -> list[report.Line]:
  """Lines of runs that differ in their seeds alone; none of none."""
  if not entries:
    return []
  first = entries[0]
  runs = [(found[e.name], folder_of(workdir, e)) for e in entries]
  more = {}
  if (runs[0][1] / _COSTS).exists():
    seconds = sum(sum(one.seconds.values()) for one, _ in runs)
    more = reproduced.columns(_costs(runs[0][1]), seconds)
  return comparison.lines(
    runs, first.pooled, first.scores, first.dataset, first.protocol, more
  )


def _costs(folder: Path) -> Mapping[str, int | float]:
  """Parameters, multiply-adds and speed of the run's model, measured once."""
  path = folder / _COSTS
  if path.exists():
    return files.read_json(path, "remove it; it is made again")
  found = dataclasses.asdict(costs.measure(Trained.load(folder)))
  if processes.first():
    files.write_json(path, found)
  return found


def _failure(entry: Entry, reason: str) -> report.Line:
  # Named as the line would be that it stands for.
  dataset = entry.dataset or entry.config["data"]["name"]
  method = entry.scores[0][1] if entry.scores else entry.config["method"]
  return report.Line(
    entry.name,
    dataset,
    method,
    "auroc",
    protocol=entry.protocol,
    failure=reason,
  )


def _write(
  workdir: Path,
  title: str,
  lines: Sequence[report.Line],
  found: Mapping[str, results.Results],
  notes: Sequence[str],
) -> None:
  files.write(workdir / "table.csv", report.csv_text(lines))
  print("\n" + "\n".join([report.text(lines), *notes]))
  # What was found is saved and said before it is drawn, which may fail.
  files.write(workdir / "table.png", report.picture(lines))
  page = reproduced.page(title, lines, found, notes, "table.png")
  files.write(workdir / "page.md", page)
  print(f"\npage.md, table.csv and table.png are in {workdir}")
