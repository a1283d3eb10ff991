"""Evaluators of a score on a test set: a list that new metrics join.

An evaluator sees one score of one training at a time and returns a dataclass
of numbers, or None where the test set lacks what it needs. Detection by boxes
would be a further field of `Truth`, a further evaluator here and a field of its
name in `report.results.Score`.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int
import numpy as np

from medad_jax.scoring import accuracy, metrics, pixel_metrics


@dataclasses.dataclass(frozen=True)
class Truth:
  """The ground truth of a test set.

  Attributes:
    labels: 0 normal, 1 abnormal, [n].
    masks: where each image is abnormal; None where the set has none.
    patients: a number a patient; None where none is known.
  """

  labels: metrics.Labels
  masks: Bool[np.ndarray, "n h w"] | None = None
  patients: Int[np.ndarray, "n"] | None = None

  def some(self, rows: Int[np.ndarray, "m"]) -> "Truth":
    """The truth of some of the images."""
    return Truth(
      self.labels[rows],
      None if self.masks is None else self.masks[rows],
      None if self.patients is None else self.patients[rows],
    )


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
  return metrics.rank(truth.labels, scores, truth.patients)


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


def best_accuracy(
  truth: Truth,
  scores: Float[np.ndarray, "n"],
  maps: Float[np.ndarray, "n h w"] | None,
) -> accuracy.Accuracy | None:
  """The best accuracy that a threshold can have."""
  del maps
  return accuracy.summarize(truth.labels, scores)


EVALUATORS: Mapping[str, Evaluator] = {
  "ranking": ranking,
  "pixels": pixels,
  "accuracy": best_accuracy,
}
