"""Lines of a run beside published values, from what its evaluation left."""

from collections.abc import Iterator, Mapping, Sequence
import csv
from pathlib import Path
import re
import statistics
from typing import Any

import numpy as np

from medad_jax import published, shipped
from medad_jax.engine import config as configuration
from medad_jax.report import results
from medad_jax.report.comparison import Line
from medad_jax.scoring import detection, intervals

# Every line of a score has the first two; the others where they are measured.
_METRICS = ("auroc", "ap", "pixel_auroc", "pixel_ap", "oracle_dice")
_RATE = "detection_rate"
_SINGLE = "single"  # the mean over these nets' own scores
_NETS = re.compile(r"rec_\d+")
_SEEDS = ("seed", "seeds")  # a run of another seed is the same protocol
_SHOWN = 3  # fields that a note names


def lines(
  runs: Sequence[tuple[results.Results, Path]],
  run: str,
  scores: Sequence[tuple[str, str]],
  dataset: str = "",
  protocol: str = "",
  more: Mapping[str, str] | None = None,
) -> list[Line]:
  """Lines of every score of a run that a table asks for.

  Args:
    runs: results and folders of runs that differ in their seeds alone; the
      folders' scores.csv give intervals of several trainings.
    run: what to call them.
    scores: its scores and what `published` calls them; the score "" is the
      headline. None at all is the headline by the method's name.
    dataset: what `published` calls the set; "" as the run does.
    protocol: how the run departs from the published protocol.
    more: further columns of the first line.
  """
  found = runs[0][0]
  dataset = dataset or found.dataset
  images = other_images(found)
  *_, headline = found.main.scores
  made: list[Line] = []
  for name, method in scores or (("", found.method),):
    for metric in (*_METRICS, _RATE):
      values = _pooled([one.main for one, _ in runs], name or headline, metric)
      known = published.find(dataset, method, metric)
      # The rate is at the publication's own threshold, which others lack.
      if not values or (metric == _RATE and not known):
        continue
      ends = _interval(runs, name or headline, metric)
      common = (tuple(values), ends, tuple(known), images, protocol)
      # Costs are the run's: once is enough.
      extra = {} if made else dict(more or {})
      made.append(Line(run, dataset, method, metric, *common, "", extra))
  # Further sets have the headline alone, and nothing is published of them.
  for name, one in found.sets.items():
    same = [each.sets[name] for each, _ in runs if name in each.sets]
    values = _pooled(same, headline, "auroc")
    if values:
      score = one.scores[headline]
      ends = _found_interval(score, "auroc") if len(runs) == 1 else None
      title = f"{made[0].method if made else run}, {name}"
      made.append(
        Line(
          *(run, dataset, title, "auroc", tuple(values), ends),
          protocol=protocol,
        )
      )
  return made


def other_images(found: results.Results) -> str:
  """Differences of the numbers of images from the publication's, in words."""
  # Only an audited set knows what was published; of others nothing is said.
  said = []
  for facts in found.data.get("audit", {}).values():
    counts, known = facts.get("counts", {}), facts.get("published", {})
    said += [
      f"{split} {counts.get(split, 0):,} of {count:,}"
      for split, count in known.items()
      if counts.get(split, 0) != count
    ]
  return ", ".join(said)


def row_of(config: Mapping[str, Any]) -> tuple[Any, str] | None:
  """The published run that a configuration is nearest to, and what departs.

  Returns:
    A row of configs/_tables.py, and the fields that differ from it in words;
    None where no table has the method on this set.
  """
  # Folders of runs do not say what they reproduce: the configuration does.
  ours, best = _fields(config), None
  tables = shipped.module("configs._tables")
  for row in tables.of_dataset(config["data"]["name"]):
    theirs = _fields(configured(row))
    same = ("method", "backbone", "data.name")
    if any(ours.get(name) != theirs.get(name) for name in same):
      continue
    differ = [
      f"{name} {ours[name]} for {theirs[name]}"
      for name in theirs
      # A run of an earlier version lacks fields, and so departs in none.
      if name in ours and _plain(ours[name]) != _plain(theirs[name])
    ]
    # The first of equals: tables begin with the published protocol itself.
    if best is None or len(differ) < len(best[1]):
      best = row, differ
  if best is None:
    return None
  row, differ = best
  more = len(differ) - _SHOWN
  note = ", ".join(differ[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
  return row, note


def configured(
  row: Any, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """The configuration of a row of configs/_tables.py, with changes."""
  file = shipped.module(f"configs.{row.file}")
  plain = file.get_config(row.argument).to_dict()
  return configuration.with_hyper(
    plain, {**dict(row.changes), **(changes or {})}
  )


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
  return {
    k: v for k, v in configuration.decisive(config).items() if k not in _SEEDS
  }


def _plain(value: Any) -> Any:
  """A value as JSON gives it back."""
  return (
    [_plain(v) for v in value] if isinstance(value, tuple | list) else value
  )


def _pooled(
  found: Sequence[results.TestSet], name: str, metric: str
) -> list[float]:
  """The metric of all trainings; none where one run lacks it."""
  each = [_values(one, name, metric) for one in found]
  return [value for values in each for value in values] if all(each) else []


def _values(found: results.TestSet, name: str, metric: str) -> list[float]:
  """The metric of every training; none where the run has no such score."""
  if name == _SINGLE:
    nets = [n for n in found.scores if _NETS.fullmatch(n)]
    each = [_values(found, net, metric) for net in nets]
    return [statistics.fmean(v) for v in zip(*each, strict=True)]
  score = found.scores.get(name)
  if score is None:
    return []
  if metric == _RATE:
    rate = _published_rate(score)
    per_seed: list[float | None] = [rate.rate] if rate else []
  elif metric in score.over_seeds:
    per_seed = list(score.over_seeds[metric].per_seed)
  else:
    of = score.ranking if hasattr(score.ranking, metric) else score.pixels
    per_seed = [getattr(of, metric, None)]
  known = [float(value) for value in per_seed if value is not None]
  return known if len(known) == len(per_seed) else []


def _interval(
  runs: Sequence[tuple[results.Results, Path]], name: str, metric: str
) -> intervals.Interval | None:
  """By sampling of the images: as measured, or of the mean of trainings."""
  (found, _), *others = runs
  score = found.main.scores.get(name)
  if score is None:
    return None
  # As the evaluation found it: by patients, where these are known.
  ends = _found_interval(score, metric)
  if not others and (ends or not score.over_seeds):
    return ends
  # Of several runs, or of seeds that an earlier version has measured.
  if metric != "auroc":
    return None
  return _over_trainings([folder / "scores.csv" for _, folder in runs], name)


def _found_interval(
  score: results.Score, metric: str
) -> intervals.Interval | None:
  if metric == _RATE:
    rate = _published_rate(score)
    return rate.rate_ci if rate else None
  of = score.ranking if hasattr(score.ranking, metric) else score.pixels
  return getattr(of, f"{metric}_ci", None)


def _published_rate(score: results.Score) -> detection.Rate | None:
  """The rate at the publication's threshold; None without that."""
  at = score.detection.at.get("published") if score.detection else None
  # Artifacts are no pathology, and the publication leaves them out.
  return (at.without_artefacts or at.total) if at else None


def _over_trainings(
  paths: Sequence[Path], name: str
) -> intervals.Interval | None:
  """The interval of a score's mean AUROC; None unless the images are equal."""
  labels, columns = None, []
  for path in paths:
    found = scores_of(path, name)
    # Other images have other placements, which must not be averaged.
    if found is None or (labels is not None and found[0] != labels):
      return None
    labels = found[0]
    columns += found[1]
  known, values = np.array(labels), np.array(columns).T
  return intervals.mean_auroc_interval(values[known == 0], values[known == 1])


def scores_of(
  path: Path, name: str
) -> tuple[list[int], list[list[float]]] | None:
  """Labels, and a score's values of each seed, of a scores.csv; or None."""
  if not path.exists():
    return None
  with path.open(encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
  titles = list(rows[0]) if rows else []
  own = [t for t in titles if name in (t, t.rpartition("@")[0])]
  if not own:
    return None
  labels = [int(row["label"]) for row in rows]
  return labels, [[float(row[title]) for row in rows] for title in own]


def means(made: Sequence[Line]) -> Iterator[Line]:
  """The mean of a method over the classes or sets of its lines, by metric."""
  by: dict[tuple[str, str], list[Line]] = {}
  for line in made:
    if line.method and "," not in line.run:
      by.setdefault((line.method, line.metric), []).append(line)
  for (method, metric), own in by.items():
    # Seeds are averaged one by one, so that their spread is that of the mean.
    if len(own) < 2 or len({len(line.values) for line in own}) > 1:
      continue
    columns = zip(*(line.values for line in own), strict=True)
    names = {line.dataset.partition(":")[0] for line in own}
    dataset = names.pop() if len(names) == 1 else "mean of the sets"
    yield Line(
      "mean",
      dataset,
      method,
      metric,
      tuple(statistics.fmean(values) for values in columns),
      None,
      tuple(published.find(dataset, method, metric)),
      "",
      own[0].protocol,
    )
