"""False alarms over random splits of real normal scores, beside the promise.

`python -m benchmarks.false_alarms RUN... --picture=docs/false_alarms.png` takes
the headline scores of the normal test images of finished runs. Each of 200
random splits holds a fifth of them out for a threshold and counts how many of
the others are above it. The rate's mean may not exceed the one asked for; with
confidence, no more than the rest of the splits may.
"""

import argparse
from pathlib import Path
import sys
from typing import NamedTuple

import numpy as np

from medad_jax import files
from medad_jax.engine import comparison
from medad_jax.report import results
from medad_jax.scoring import conformal
from medad_jax.types import UserError

RATES = (0.05, 0.1, 0.2)
CONFIDENCE = 0.9


class Rates(NamedTuple):
  """The observed false-alarm rates of one rule on one run.

  Attributes:
    run: name of its folder.
    asked: the rate that was asked for.
    confidence: see `conformal`; None for the guarantee on average.
    observed: in every split.
  """

  run: str
  asked: float
  confidence: float | None
  observed: np.ndarray

  @property
  def error(self) -> float:
    """Standard error of the mean over the splits."""
    return float(self.observed.std() / len(self.observed) ** 0.5)

  @property
  def kept(self) -> bool:
    """True if the promise holds, three standard errors granted."""
    if self.confidence is None:
      return self.observed.mean() <= self.asked + 3 * self.error
    risk = 1 - self.confidence
    error = (risk * (1 - risk) / len(self.observed)) ** 0.5
    return bool((self.observed > self.asked).mean() <= risk + 3 * error)


def normal_scores(run: Path) -> np.ndarray:
  """The headline scores of a run's normal test images, of its first seed.

  Raises:
    UserError: the run has not been evaluated.
  """
  *_, headline = results.Results.load(run / "results.json").main.scores
  found = comparison.scores_of(run / "scores.csv", headline)
  if found is None:
    raise UserError(
      f"{run} holds no scores.csv with {headline}; give folders of runs that"
      " were evaluated."
    )
  labels, seeds = found
  return np.array(seeds[0])[np.array(labels) == 0]


def split(
  scores: np.ndarray,
  asked: float,
  confidence: float | None,
  splits: int,
  share: float = 0.2,
) -> np.ndarray:
  """The observed rate of each random split."""
  count = round(share * len(scores))
  found = []
  for seed in range(splits):
    order = np.random.RandomState(seed).permutation(len(scores))
    held, new = scores[order[:count]], scores[order[count:]]
    limit = conformal.threshold(held, asked, confidence)
    found.append((new > limit).mean())
  return np.array(found)


def measure(run: Path, splits: int) -> list[Rates]:
  """The rates that a run has enough normal images for."""
  scores = normal_scores(run)
  found = []
  for asked in RATES:
    for confidence in (None, CONFIDENCE):
      if conformal.least(asked, confidence) <= round(0.2 * len(scores)):
        observed = split(scores, asked, confidence, splits)
        found.append(Rates(run.name, asked, confidence, observed))
  return found


def draw(found: list[Rates], path: Path) -> None:
  """Every rule's observed rates as points beside the line of the promise."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8, 0.45 * len(found) + 1.2), layout="constrained")
  axes = figure.subplots()
  draws = np.random.RandomState(0)
  for at, rates in enumerate(found):
    color = "tab:blue" if rates.confidence is None else "tab:orange"
    heights = at + draws.uniform(-0.25, 0.25, len(rates.observed))
    axes.plot(rates.observed, heights, ".", color=color, alpha=0.25)
    axes.plot([rates.asked] * 2, [at - 0.4, at + 0.4], color="black")
    axes.plot(rates.observed.mean(), at, "D", color=color, mec="black")
  axes.set_yticks(range(len(found)), [_name(rates) for rates in found])
  axes.invert_yaxis()
  axes.set_xlabel(
    "false-alarm rate of each split (points), their mean (diamond), asked for"
    " (line)",
    fontsize=8,
  )
  FigureCanvasAgg(figure)
  with files.replacing(path) as file:
    figure.savefig(file, format="png", dpi=80)


def _name(rates):
  sure = "" if rates.confidence is None else f", {rates.confidence:.0%} sure"
  return f"{rates.run}: {rates.asked:.0%}{sure}"


def main(argv: list[str] | None = None) -> int:
  """The command line; returns 1 where a promise is broken."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("runs", type=Path, nargs="+")
  parser.add_argument("--splits", type=int, default=200)
  parser.add_argument("--picture", type=Path)
  args = parser.parse_args(argv)
  try:
    found = [rates for run in args.runs for rates in measure(run, args.splits)]
    if args.picture:
      draw(found, args.picture)
  except UserError as error:
    print(f"false_alarms: {error}", file=sys.stderr)
    return 2
  for rates in found:
    above = (rates.observed > rates.asked).mean()
    print(
      f"{_name(rates):32} mean {rates.observed.mean():.4f}, above it in"
      f" {above:.0%} of splits, {'kept' if rates.kept else 'BROKEN'}"
    )
  return 0 if all(rates.kept for rates in found) else 1


if __name__ == "__main__":
  sys.exit(main())
