"""Differences of two runs with the same seeds, seed by seed."""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import io

from medad_jax.report.results import Results, TestSet
from medad_jax.scoring import verdicts


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two runs whose AUROC is compared.

  Attributes:
    run: name of the first one.
    other: name of the run that is subtracted.
    part: the set of the first run that is compared with all of the other one;
      empty where their sets are compared one by one.
  """

  run: str
  other: str
  part: str = ""


@dataclasses.dataclass(frozen=True)
class Gap:
  """The difference of a pair on one test set.

  Attributes:
    run: name of the first run.
    other: name of the run that is subtracted.
    part: the set; empty for all test images.
    mean: of the differences in AUROC, in [-1, 1].
    low: lower end of its 95 % interval over seeds; None with one seed.
    high: upper end.
    seeds: number of them.
  """

  run: str
  other: str
  part: str
  mean: float
  low: float | None
  high: float | None
  seeds: int


def gaps(pairs: Sequence[Pair], found: Mapping[str, Results]) -> list[Gap]:
  """The differences of all pairs, pair by pair and set by set.

  Args:
    pairs: whose runs may be absent.
    found: results by the runs' names.

  Returns:
    None of a pair without both runs, or of a set with images of one class.
  """
  made = []
  for pair in pairs:
    if pair.run not in found or pair.other not in found:
      continue
    ours, theirs = map(_sets, (found[pair.run], found[pair.other]))
    shared = [(part, part) for part in ours if part in theirs]
    for part, other in [(pair.part, "")] if pair.part else shared:
      values = _per_seed(ours.get(part)), _per_seed(theirs.get(other))
      if not values[0] or len(values[0]) != len(values[1]):
        continue
      mean, ends = verdicts.paired(*values)
      low, high = ends or (None, None)
      count = len(values[0])
      made.append(Gap(pair.run, pair.other, part, mean, low, high, count))
  return made


def sentences(made: Sequence[Gap]) -> list[str]:
  """The differences in words, a line each."""
  said = []
  for gap in made:
    ends = ""
    if gap.low is not None:
      ends = f" [{gap.low:+.3f}, {gap.high:+.3f}]"
    said.append(
      f"{gap.part or 'all images'}: AUROC of {gap.run} minus that of"
      f" {gap.other} {gap.mean:+.3f}{ends}, paired over {gap.seeds} seeds."
    )
  return said


def csv_text(made: Sequence[Gap]) -> str:
  """All numbers, a difference a row."""
  file = io.StringIO(newline="")
  out = csv.writer(file, lineterminator="\n")
  out.writerow([field.name for field in dataclasses.fields(Gap)])
  out.writerows(dataclasses.astuple(gap) for gap in made)
  return file.getvalue()


def _sets(found: Results) -> dict[str, TestSet]:
  return {"": found.main, **found.sets}


def _per_seed(found: TestSet | None) -> list[float]:
  """The headline's AUROC of every seed; none where one is undefined."""
  if found is None:
    return []
  score = list(found.scores.values())[-1]
  values = [score.ranking.auroc]
  if score.over_seeds:
    values = list(score.over_seeds["auroc"].per_seed)
  known = [float(value) for value in values if value is not None]
  return known if len(known) == len(values) else []
