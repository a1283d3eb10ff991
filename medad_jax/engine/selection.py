"""The choice among configurations, from measurements on folds.

A configuration is measured along its training, on each fold. Early stopping
takes a step of each training; the configuration's value is the mean over folds
of what was measured there, and its final length the mean of these steps
(Shvetsova et al., IEEE Access 2021, section on hyper-parameters).
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Literal

import numpy as np

# Rules by name: what is measured, and whether more is better. "anomalies" is
# the paper's, the AUROC of the few anomalies; the others see none.
RULES: Mapping[str, bool] = {
  "anomalies": True,
  "validation_loss": False,
  "synthetic": True,
}
Stop = Literal["early", "best"]


@dataclasses.dataclass(frozen=True)
class Stopping:
  """The choice of a training's length.

  Attributes:
    kind: "early" for early stopping by the validation loss of each fold; "best"
      for the step, the same for all folds, whose mean is the best by the rule.
    patience: measurements without improvement that early stopping bears.
    min_delta: what counts as improvement.
  """

  kind: Stop = "early"
  patience: int = 3
  min_delta: float = 1e-3

  def early(self, losses: Sequence[float]) -> tuple[int | None, bool]:
    """The measurement to stop at, and whether patience has ended.

    None where no loss was finite.
    """
    best, at = math.inf, None
    for number, loss in enumerate(losses):
      # Never true of NaN: a training that diverged keeps what it had before.
      if loss < best - self.min_delta:
        best, at = loss, number
      elif number - (at or 0) > self.patience:
        return at, True
    return at, False


@dataclasses.dataclass(frozen=True)
class Measured:
  """Measurements of a configuration along its training.

  Attributes:
    steps: of the measurements.
    values: by rule, [steps folds]; NaN where a training diverged.
  """

  steps: tuple[int, ...]
  values: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The worth of a configuration.

  Attributes:
    stops: the step of each fold; empty where a training diverged.
    values: by rule, one for each fold, at these steps.
  """

  stops: tuple[int, ...]
  values: Mapping[str, tuple[float, ...]]

  @property
  def length(self) -> int | None:
    """Steps of the final training: the mean over folds, rounded down."""
    # Published lengths are thirds of thousands, rounded down.
    return int(np.mean(self.stops)) if self.stops else None

  def mean(self, rule: str) -> float:
    """The mean over folds; NaN where a training diverged."""
    return float(np.mean(self.values[rule])) if self.stops else math.nan


def outcome(measured: Measured, stopping: Stopping, rule: str) -> Outcome:
  """A configuration's lengths and values.

  Args:
    measured: along its training.
    stopping: how a length is chosen.
    rule: of `RULES`; decides lengths where these are the best ones.
  """
  losses = measured.values["validation_loss"]
  if stopping.kind == "early":
    at = [stopping.early(column)[0] for column in losses.T.tolist()]
  else:
    means = np.mean(measured.values[rule], 1)
    means = means if RULES[rule] else -means
    # NaN where any fold diverged: no length suits such a configuration.
    best = None if np.isnan(means).all() else int(np.nanargmax(means))
    at = [best] * losses.shape[1]
  if None in at:
    return Outcome((), {name: () for name in RULES})
  return Outcome(
    tuple(measured.steps[n] for n in at if n is not None),
    {
      name: tuple(float(values[n, f]) for f, n in enumerate(at))
      for name, values in measured.values.items()
    },
  )


def best(outcomes: Sequence[Outcome], rule: str) -> int | None:
  """The number of the best configuration; the first of equal ones.

  None where every training diverged, or nothing was measured by that rule.
  """
  means = np.array([one.mean(rule) for one in outcomes])
  means = means if RULES[rule] else -means
  return None if np.isnan(means).all() else int(np.nanargmax(means))
