"""Monitors: measurements of held-out normal images during training."""

from collections.abc import Callable, Mapping

from jaxtyping import Array, PRNGKeyArray
import numpy as np

from medad_jax.scoring import metrics
from medad_jax.types import Batch, Monitor, TrainState

Values = Callable[[TrainState, Batch, PRNGKeyArray], Mapping[str, Array]]


def auroc(values: Values) -> Monitor:
  """AUROC of "synthetic" anomalies against the "normal" images they are from.

  Args:
    values: gives an image score [b] under both names; the same anomalies at
      every call with the same key.
  """

  def summary(found: Mapping[str, np.ndarray]) -> float:
    scores = np.concatenate([found["normal"], found["synthetic"]])
    labels = np.repeat([0, 1], [len(found["normal"]), len(found["synthetic"])])
    value = metrics.auroc(labels, scores)
    assert value is not None  # both classes are there
    return value

  return Monitor("synthetic_auroc", values, summary, higher_is_better=True)


def mean(values: Values) -> Monitor:
  """Mean of the only value [b], a loss of held-out images."""

  def summary(found: Mapping[str, np.ndarray]) -> float:
    (losses,) = found.values()
    return float(np.mean(losses))

  return Monitor("validation_loss", values, summary, higher_is_better=False)
