"""Evaluators of a score on a test set: a list that new metrics join.

An evaluator sees one score of one training at a time and returns a dataclass
of numbers, or None where the test set lacks what it needs. Detection by boxes
would be a further field of `Truth`, a further evaluator here and a field of its
name in `report.results.Score`.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from jaxtyping import Bool, Float
import numpy as np

from medad_jax.scoring import metrics, pixel_metrics


@dataclasses.dataclass(frozen=True)
class Truth:
  """The ground truth of a test set.

  Attributes:
    labels: 0 normal, 1 abnormal, [n].
    masks: where each image is abnormal; None where the set has none.
  """

  labels: metrics.Labels
  masks: Bool[np.ndarray, "n h w"] | None = None


# (truth, image scores [n], maps [n h w] or None) -> a dataclass or None
Evaluator = Callable[
  [Truth, Float[np.ndarray, "n"], Float[np.ndarray, "n h w"] | None], Any
]


def ranking(
  truth: Truth,
  scores: Float[np.ndarray, "n"],
  maps: Float[np.ndarray, "n h w"] | None,
) -> metrics.Ranking:
  """Metrics of how well the scores rank the images."""
  del maps
  return metrics.rank(truth.labels, scores)


def pixels(
  truth: Truth,
  scores: Float[np.ndarray, "n"],
  maps: Float[np.ndarray, "n h w"] | None,
) -> pixel_metrics.Pixels | None:
  """Metrics of how well maps rank the pixels; None without maps or masks."""
  del scores
  if maps is None or truth.masks is None:
    return None
  return pixel_metrics.summarize(maps, truth.masks)


EVALUATORS: Mapping[str, Evaluator] = {"ranking": ranking, "pixels": pixels}
