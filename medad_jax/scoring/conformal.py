"""Thresholds and p-values from scores of held-out normal images alone.

Split conformal prediction (Vovk et al., "Algorithmic Learning in a Random
World", 2005; for anomalies Bates et al., "Testing for outliers with conformal
p-values", Annals of Statistics 2023).

The guarantee: let the held-out images and a new normal image be exchangeable,
as images drawn alike are. Then the probability that the new image is flagged is
at most the rate, over the draw of all of them. It says nothing of anomalies, of
images from another scanner or population, and it is no promise for one fixed
set of held-out images: there the rate varies around its mean. With `confidence`
it is one: if images are independent, then with that probability over the
held-out images, at most that rate of all new normal images is flagged.

Where patients are known, they take the place of images: the new image is a
random one of a new patient (Lee, Barber and Willett, "Distribution-free
inference with hierarchical data", 2023), and with `confidence` at most the rate
of new patients have any image flagged.
"""

import math

from jaxtyping import Float, Int
import numpy as np
from scipy import special

from medad_jax.types import UserError

Scores = Float[np.ndarray, "n"]
Patients = Int[np.ndarray, "n"]


def least(rate: float, confidence: float | None = None) -> int:
  """The fewest held-out images, or patients, that a rate can be had with.

  Args:
    rate: of false alarms, in (0, 1).
    confidence: see the module; None for the guarantee on average.
  """
  if confidence is None:
    # 1 / (n + 1) <= rate; the small term is for rates such as 0.05.
    return math.ceil(1 / rate - 1 - 1e-9)
  return math.ceil(math.log(1 - confidence) / math.log(1 - rate) - 1e-9)


def threshold(
  held_out: Scores,
  rate: float,
  confidence: float | None = None,
  patients: Patients | None = None,
) -> float:
  """The score above which an image is flagged.

  Args:
    held_out: scores of normal images, finite.
    rate: of false alarms, in (0, 1).
    confidence: see the module; None for the guarantee on average.
    patients: the patient's number of every image; None for one image each.

  Raises:
    UserError: there are too few images or patients.
  """
  held_out, weights, count = _weighted(held_out, patients)
  check_count(count, rate, confidence, patients is not None)
  if confidence is not None:
    if patients is not None:
      held_out = _largest(held_out, patients)
    rank = _sure_rank(count, rate, confidence)
    return float(np.sort(held_out)[rank - 1])
  order = np.argsort(held_out)
  # The new image is one more patient, whose score may be the largest.
  reached = np.cumsum(weights[order]) / (count + 1)
  at = np.searchsorted(reached, 1 - rate - 1e-9)
  return float(held_out[order[at]])


def p_values(
  scores: Float[np.ndarray, "m"],
  held_out: Scores,
  patients: Patients | None = None,
) -> Float[np.ndarray, "m"]:
  """The share of normal images that would score as high, at most.

  For a new normal image the probability of a value of p or less is at most p.
  A score is above `threshold` exactly where its p-value is at most the rate.

  Args:
    scores: of new images.
    held_out: of normal images, at least one.
    patients: as for `threshold`.
  """
  held_out, weights, count = _weighted(held_out, patients)
  order = np.argsort(held_out)
  above = np.concatenate([[0], np.cumsum(weights[order][::-1])])[::-1]
  at = np.searchsorted(held_out[order], scores, "left")
  return (1 + above[at]) / (count + 1)


def drift(scores: Float[np.ndarray, "m"], held_out: Scores) -> float:
  """The p-value of "these normal images score as the held-out ones did".

  A small one, below 0.01 say, is an alarm: the scanner, the preparation or the
  patients have changed, and the threshold no longer holds. It is that of the
  two-sample test of Kolmogorov and Smirnov, for independent images: `one_each`.
  """
  # Half a second to import, for one number of an evaluation.
  from scipy import stats

  return float(stats.ks_2samp(scores, held_out).pvalue)


def one_each(
  scores: Float[np.ndarray, "m"], patients: Patients | None
) -> Float[np.ndarray, "k"]:
  """The score of each patient's first image: those of one depend.

  Args:
    scores: of images.
    patients: the patient's number of every image; None for one image each.
  """
  if patients is None:
    return scores
  return scores[np.unique(patients, return_index=True)[1]]


def check_count(
  count: int, rate: float, confidence: float | None, of_patients: bool
) -> None:
  """Raises UserError where a rate needs more held-out images or patients."""
  needed = least(rate, confidence)
  if count >= needed:
    return
  kind = "patients" if of_patients else "images"
  sure = "" if confidence is None else f" with {confidence:.0%} confidence"
  raise UserError(
    f"at most {100 * rate:.3g} % false alarms{sure} need {needed} held-out"
    f" normal {kind}, and there are {count}: scores and p-values are written,"
    f" but no threshold; give more normal {kind}, hold out a larger"
    " validation.share or allow more false alarms."
  )


def _weighted(held_out, patients):
  """Scores, the weight of each within its patient, and the patients."""
  held_out = np.asarray(held_out, float)
  if patients is None:
    return held_out, np.ones(len(held_out)), len(held_out)
  _, number, counts = np.unique(
    patients, return_inverse=True, return_counts=True
  )
  return held_out, 1 / counts[number], len(counts)


def _largest(held_out, patients):
  """Each patient's largest score."""
  known, number = np.unique(patients, return_inverse=True)
  found = np.full(len(known), -np.inf)
  np.maximum.at(found, number, held_out)
  return found


def _sure_rank(count, rate, confidence):
  """The smallest rank whose score few normal images exceed, with confidence.

  The share of normal images below the k-th smallest of n is Beta(k, n + 1 - k)
  or larger.
  """
  ranks = np.arange(1, count + 1)
  risk = special.betainc(ranks, count + 1 - ranks, 1 - rate)
  return int(ranks[risk <= 1 - confidence + 1e-12][0])
