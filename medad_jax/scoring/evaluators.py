"""Evaluators of a score on a test set: a list that new metrics join.

An evaluator sees one score of one training at a time and returns a dataclass
of numbers, or None where the test set lacks what it needs. Each has a field of
its name in `report.results.Score`.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int
import numpy as np

from medad_jax.scoring import accuracy, metrics, pixel_metrics
from medad_jax.scoring import detection as local


@dataclasses.dataclass(frozen=True)
class Truth:
  """The ground truth of a test set.

  Attributes:
    labels: 0 normal, 1 abnormal. They may be more than the images that have
      maps: normal images of another set follow those of one that has none.
    masks: where each image is abnormal; None where the set has none.
    patients: a number a patient, for each label; None where none is known.
    regions: boxes to be found; None where there are none.
  """

  labels: metrics.Labels
  masks: Bool[np.ndarray, "m h w"] | None = None
  patients: Int[np.ndarray, "n"] | None = None
  regions: local.Regions | None = None


@dataclasses.dataclass(frozen=True)
class Found:
  """One score of one training on a test set.

  Attributes:
    scores: of the image of each label.
    maps: of the set's own images; None where the score has none.
    draws: maps of each random draw; None where the score has none.
    thresholds: of the maps, by name; see `detection.thresholds`.
  """

  scores: Float[np.ndarray, "n"]
  maps: Float[np.ndarray, "m h w"] | None = None
  draws: Float[np.ndarray, "m d h w"] | None = None
  thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)


Evaluator = Callable[[Truth, Found], Any]  # -> a dataclass or None


def ranking(truth: Truth, found: Found) -> metrics.Ranking:
  """Metrics of how well the scores rank the images."""
  return metrics.rank(truth.labels, found.scores, truth.patients)


def pixels(truth: Truth, found: Found) -> pixel_metrics.Pixels | None:
  """Metrics of how well maps rank the pixels; None without maps or masks."""
  if found.maps is None or truth.masks is None:
    return None
  return pixel_metrics.summarize(found.maps, truth.masks)


def best_accuracy(truth: Truth, found: Found) -> accuracy.Accuracy | None:
  """The best accuracy that a threshold can have."""
  return accuracy.summarize(truth.labels, found.scores)


def detection(truth: Truth, found: Found) -> local.Detection | None:
  """Boxes that the maps find; None without maps, boxes or thresholds."""
  maps = found.draws
  if maps is None and found.maps is not None:
    maps = found.maps[:, None]
  if maps is None or truth.regions is None:
    return None
  return local.detect(maps, truth.regions, found.thresholds)


EVALUATORS: Mapping[str, Evaluator] = {
  "ranking": ranking,
  "pixels": pixels,
  "accuracy": best_accuracy,
  "detection": detection,
}
