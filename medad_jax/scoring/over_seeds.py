"""The metrics of several seeds as one summary."""

from collections.abc import Sequence
import dataclasses
import statistics
from typing import TypeVar

_Metrics = TypeVar("_Metrics")  # a dataclass of numbers


@dataclasses.dataclass(frozen=True)
class Spread:
  """One metric over the seeds of a run.

  Attributes:
    mean: over the seeds.
    std: standard deviation, with n - 1.
    per_seed: the metric of every seed, in their order.
  """

  mean: float | None
  std: float | None
  per_seed: tuple[float | None, ...]


def over_seeds(
  found: Sequence[_Metrics],
) -> tuple[_Metrics, dict[str, Spread]]:
  """The metrics of several trainings of the same score as one summary.

  Args:
    found: a dataclass of metrics a seed, all of the same images.

  Returns:
    The means, and the spread of each metric. Counts of images (`n_...`) do not
    change. Intervals (`..._ci`) are None: they describe the sampling of the
    images for one training, and those of means are not their means. A metric
    that is undefined stays None. A single training gives its own metrics and no
    spread.
  """
  first, *others = found
  if not others:
    return first, {}
  names = [field.name for field in dataclasses.fields(first)]  # type: ignore
  spreads = {
    name: spread([getattr(metrics, name) for metrics in found])
    for name in names
    if not name.startswith("n_") and not name.endswith("_ci")
  }
  changed = {name: values.mean for name, values in spreads.items()}
  changed |= {name: None for name in names if name.endswith("_ci")}
  return dataclasses.replace(first, **changed), spreads  # type: ignore


def spread(values: Sequence[int | float | None]) -> Spread:
  """Mean and deviation of a metric's values; None where one is undefined."""
  # Counts become fractions here.
  known = [float(value) for value in values if value is not None]
  if len(known) < len(values):
    return Spread(None, None, tuple(values))
  return Spread(statistics.fmean(known), statistics.stdev(known), tuple(known))
