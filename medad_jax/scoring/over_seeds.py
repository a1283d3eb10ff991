"""The metrics of several seeds as one summary."""

from collections.abc import Mapping, Sequence
import statistics
from typing import Any

_COUNTS = ("n_normal", "n_abnormal", "n_pixels", "n_positive")


def over_seeds(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """One summary of the same score of several trainings.

  Args:
    summaries: of `metrics.summarize`, one a seed; all of the same images.

  Returns:
    The only one; of several the means, with `over_seeds` holding for each
    metric its `mean`, `std` (n - 1) and `per_seed`. Intervals are left out
    (None): they speak of the images' chance, in each training. A metric that
    is undefined stays None.
  """
  first = dict(summaries[0])
  if len(summaries) == 1:
    return first
  names = [k for k in first if k not in _COUNTS and not k.endswith("_ci")]
  spread = {name: _spread([s[name] for s in summaries]) for name in names}
  means = {name: values["mean"] for name, values in spread.items()}
  intervals = {name: None for name in first if name.endswith("_ci")}
  return first | means | intervals | {"over_seeds": spread}


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
  known = [value for value in values if value is not None]
  if len(known) < len(values):
    return {"mean": None, "std": None, "per_seed": list(values)}
  return {
    "mean": statistics.fmean(known),
    "std": statistics.stdev(known),
    "per_seed": known,
  }
