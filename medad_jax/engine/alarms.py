"""Alarms of a trained model: flags and p-values from held-out normal images.

The threshold comes from scores of normal images that the run held out
(`validation.share`); no abnormal image is needed. `scoring.conformal` says what
is guaranteed.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from medad_jax.data import columns
from medad_jax.engine import calibration
from medad_jax.engine.settings import Evaluation
from medad_jax.scoring import conformal, operating
from medad_jax.types import UserError

SPECIFICITIES = (0.9, 0.95, 0.99)
_TINY = 1e-12
# Columns that are no groups of images.
_NO_GROUPS = (columns.PATIENT, columns.TWIN, columns.NEAR_TWIN)
_MOST_GROUPS = 20  # of a column that is shown group by group


@dataclasses.dataclass(frozen=True)
class Alarms:
  """The alarms of one score of one training.

  Attributes:
    score: its name.
    held_out: its values of held-out normal images [n].
    patients: their patients' numbers; None where each image counts.
    wanted: the rate and how sure it is.
    threshold: above it an image is flagged; None where it was refused.
    refused: why there is no threshold, or "".
    anchor: the value of its map that no more than the rate of normal images
      exceed anywhere; the largest one seen where the threshold was refused.
    span: how far the anchor is above the largest value of a usual normal image.
  """

  score: str
  held_out: np.ndarray
  patients: np.ndarray | None
  wanted: Evaluation
  threshold: float | None
  refused: str
  anchor: float = 1.0
  span: float = 1.0

  def p_values(self, scores: np.ndarray) -> np.ndarray:
    """The p-value [m] of each image, from its score."""
    return conformal.p_values(scores, self.held_out, self.patients)

  def flags(self, scores: np.ndarray) -> list[str]:
    """ "1" for images above the threshold, "0" for others, "" without one."""
    if self.threshold is None:
      return [""] * len(scores)
    return [str(int(score > self.threshold)) for score in scores]

  def drift(self, scores: np.ndarray, patients: np.ndarray | None) -> float:
    """The p-value of "these images are normal and drawn as the held-out ones".

    Args:
      scores: of the images.
      patients: a number of each image's patient; None where none is known.
    """
    return conformal.drift(
      conformal.one_each(scores, patients),
      conformal.one_each(self.held_out, self.patients),
    )


def of_run(workdir: Path, score: str, wanted: Evaluation) -> tuple[Alarms, ...]:
  """The alarms of each training; none where no image was held out."""
  kept = calibration.load(workdir)
  if kept is None or score not in kept.scores:
    return ()
  # Seeds first; each training has a threshold of its own.
  values = kept.scores[score].T
  peaks = np.ones_like(values) if kept.peaks is None else kept.peaks.T
  return tuple(
    _alarms(score, *both, kept.patients, wanted)
    for both in zip(values, peaks, strict=True)
  )


def _alarms(score, held_out, peaks, patients, wanted) -> Alarms:
  held_out, peaks = (np.asarray(x, float) for x in (held_out, peaks))
  asked = (wanted.false_alarms, wanted.confidence, patients)
  limit, refused, anchor = None, "", float(peaks.max())
  try:
    limit = conformal.threshold(held_out, *asked)
    # The same rule for the maps' peaks: few healthy images show any color.
    anchor = conformal.threshold(peaks, *asked)
  except UserError as error:
    # Too few images refuse the threshold and not the run.
    refused = str(error)
  span = max(anchor - float(np.median(peaks)), _TINY)  # overlays divide by it
  return Alarms(score, held_out, patients, wanted, limit, refused, anchor, span)


def facts(alarms: Alarms) -> dict[str, Any]:
  """The threshold and where it is from, as JSON values."""
  return {
    "score": alarms.score,
    "false_alarms": alarms.wanted.false_alarms,
    "confidence": alarms.wanted.confidence,
    "n_held_out": len(alarms.held_out),
    "n_held_out_patients": _count(alarms.patients),
    "threshold": alarms.threshold,
    "refused": alarms.refused,
  }


def describe(
  alarms: Alarms | None,
  labels: np.ndarray,
  scores: np.ndarray,
  texts: columns.Texts,
  prevalence: float | None,
) -> dict[str, Any]:
  """Operating points of a score on a test set, as JSON values.

  Args:
    alarms: from held-out images; None where there are none.
    labels: of the test images.
    scores: of the test images.
    texts: columns of the test images: a table for each that has few values.
    prevalence: of abnormal images where the model will be used; None for no
      predictive values.
  """
  found = _points(alarms, labels, scores, texts, prevalence)
  # Tuples become lists, which they are when the file is read again.
  return json.loads(json.dumps(found))


def _points(alarms, labels, scores, texts, prevalence) -> dict[str, Any]:
  found: dict[str, Any] = {
    "sensitivity_at_specificity": {
      f"{at:g}": dataclasses.asdict(
        operating.sensitivity_at(labels, scores, at)
      )
      for at in SPECIFICITIES
    }
  }
  if alarms is None:
    return found
  found |= facts(alarms)
  # Labels are read here alone, to check what was promised without any.
  normal = labels == 0
  if normal.any():
    patients = columns.patients(texts)
    own = None if patients is None else patients[normal]
    found["drift_p"] = alarms.drift(scores[normal], own)
  limit = alarms.threshold
  if limit is None:
    return found
  found |= dataclasses.asdict(operating.at_threshold(labels, scores, limit))
  if prevalence is not None:
    # At 97.5 %, so that both together hold at 95 %.
    wide = operating.at_threshold(labels, scores, limit, level=0.975)
    positive, negative = operating.predictive_values(wide, prevalence)
    found |= {
      "prevalence": prevalence,
      "ppv": dataclasses.asdict(positive),
      "npv": dataclasses.asdict(negative),
    }
  found["groups"] = _groups(labels, scores, limit, texts)
  return found


def _groups(labels, scores, limit, texts) -> dict[str, Any]:
  # Patients are many, and a column of one value says nothing.
  shown: Mapping[str, Sequence[str]] = {
    name: values
    for name, values in texts.items()
    if name not in _NO_GROUPS and 1 < len(set(values)) <= _MOST_GROUPS
  }
  return {
    name: {
      group: dataclasses.asdict(values)
      for group, values in operating.by_group(
        labels, scores, limit, groups
      ).items()
    }
    for name, groups in shown.items()
  }


def _count(patients: np.ndarray | None) -> int | None:
  return None if patients is None else len(np.unique(patients))
