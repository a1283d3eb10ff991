"""Intervals that resample patients: images of one patient are not independent.

A cluster bootstrap (Davison & Hinkley, Bootstrap Methods and their Application,
1997, section 3.8): a draw takes patients with replacement, each with all its
images. Patients with images of one class, of the other, or of both are drawn
apart, so that no draw lacks a class. A draw weights the same sorted images, so
one sort serves all of them.
"""

import math

from jaxtyping import Float, Int, Integer
import numpy as np

from medad_jax.scoring import intervals

_DRAWS = 1000
_CHUNK = 4_000_000  # numbers held at a time: 32 MB an array


def intervals_of(
  labels: Integer[np.ndarray, "n"],
  scores: Float[np.ndarray, "n *s"],
  patients: Int[np.ndarray, "n"],
  draws: int = _DRAWS,
  seed: int = 0,
) -> tuple[intervals.Interval | None, intervals.Interval | None]:
  """95 % intervals of AUROC and average precision, or of their means.

  The AUROC's is the one of `intervals.auroc_interval` for as many cases as
  there are patients, times the ratio of the bootstrap's variance to that of
  independent patients with one image each; less so with few patients, and never
  below the ratio for independent images. So it does not vanish where classes
  separate perfectly. The average precision's is taken on the logit scale.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: finite; higher is more abnormal. Of several trainings, which are
      held fixed, a column each: the intervals are those of the means.
    patients: a number a patient.
    draws: bootstrap samples.
    seed: of the draws; the same seed gives the same intervals.

  Returns:
    Each None with fewer than two patients in a class; the second also where
    the classes separate perfectly.
  """
  n, m = (len(np.unique(patients[labels == x])) for x in (0, 1))
  if min(n, m) < 2:
    return None, None
  weights = draw(labels, patients, draws, seed)
  [area], [precision] = measure(labels, scores, np.ones_like(weights[:1]))
  areas, precisions = measure(labels, scores, weights)
  single = intervals.newcombe_variance(area, n, m)
  ratio = 1.0  # the images of a patient say the same
  if single > 0:
    images = [int(np.sum(labels == x)) for x in (0, 1)]
    least = intervals.newcombe_variance(area, *images) / single
    measured = intervals.shrunk(float(areas.var(ddof=1)) / single, n, m)
    ratio = max(measured, least)
  ends = intervals.area_ends(float(area), n, m, ratio)
  if math.isclose(precision, 1):
    return ends, None
  error = float(precisions.std(ddof=1))
  # With three patients a class, 95 % intervals from z held 80 %.
  return ends, intervals.logit_interval(float(precision), error, min(n, m))


def auroc_difference(
  labels: Integer[np.ndarray, "n"],
  a: Float[np.ndarray, "n *s"],
  b: Float[np.ndarray, "n *t"],
  patients: Int[np.ndarray, "n"],
  draws: int = _DRAWS,
  seed: int = 0,
) -> intervals.Difference | None:
  """AUROC of score `a` minus AUROC of score `b`, on the same images.

  Args:
    labels: 0 normal, 1 abnormal.
    a: one score's finite values; of several trainings a column each, whose
      mean AUROC it is.
    b: the other's.
    patients: a number a patient.
    draws: bootstrap samples, the same for both scores.
    seed: of the draws.

  Returns:
    As `intervals.auroc_difference`; None with fewer than two patients in a
    class.
  """
  if min(len(np.unique(patients[labels == x])) for x in (0, 1)) < 2:
    return None
  weights = draw(labels, patients, draws, seed)
  once = np.ones_like(weights[:1])
  [value] = np.subtract(*(measure(labels, x, once)[0] for x in (a, b)))
  drawn = np.subtract(*(measure(labels, x, weights)[0] for x in (a, b)))
  # Rounding aside, equal rankings differ in no draw.
  error = float(drawn.std(ddof=1))
  return intervals.difference(float(value), 0.0 if error < 1e-12 else error)


def draw(
  labels: Integer[np.ndarray, "n"],
  patients: Int[np.ndarray, "n"],
  draws: int,
  seed: int,
) -> Int[np.ndarray, "draws n"]:
  """Counts of each image in each draw.

  Args:
    labels: 0 normal, 1 abnormal.
    patients: a number a patient; of independent images `alone(labels)`.
    draws: bootstrap samples.
    seed: of the draws.
  """
  everyone, whose = np.unique(patients, return_inverse=True)
  kinds = np.zeros(len(everyone), int)
  for label in (0, 1):
    kinds[np.unique(whose[labels == label])] += 1 + label
  rng = np.random.default_rng(seed)
  counts = np.zeros((draws, len(everyone)), np.int32)
  for kind in (1, 2, 3):
    (group,) = np.nonzero(kinds == kind)
    if len(group):
      equal = np.full(len(group), 1 / len(group))
      counts[:, group] = rng.multinomial(len(group), equal, draws)
  return counts[:, whose]


def alone(labels: Integer[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
  """Numbers of patients of whom each has one image."""
  return np.arange(len(labels))


def measure(
  labels: Integer[np.ndarray, "n"],
  scores: Float[np.ndarray, "n *s"],
  weights: Int[np.ndarray, "d n"],
) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
  """AUROC and average precision of every draw, the means over trainings.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: finite; of several trainings a column each.
    weights: how often each image is in each draw.
  """
  columns = scores.reshape(len(labels), -1).T
  each = [_Sorted(labels, column).measure(weights) for column in columns]
  areas, precisions = zip(*each, strict=True)
  return np.mean(areas, 0), np.mean(precisions, 0)


class _Sorted:
  """A test set in the order of its scores, to be weighted.

  Args:
    labels: 0 normal, 1 abnormal.
    scores: finite values.
  """

  def __init__(self, labels: np.ndarray, scores: np.ndarray):
    self._order = np.argsort(-scores, kind="stable")
    ordered = scores[self._order]
    self._abnormal = labels[self._order] == 1
    # The last image of each group of equal scores.
    self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

  def measure(
    self, weights: Int[np.ndarray, "d n"]
  ) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
    """AUROC and average precision of test sets with images so often."""
    size = max(1, _CHUNK // weights.shape[1])
    parts = [
      self._measure(weights[at : at + size])
      for at in range(0, len(weights), size)
    ]
    areas, precisions = zip(*parts, strict=True)
    return np.concatenate(areas), np.concatenate(precisions)

  def _measure(self, weights):
    ordered = weights[:, self._order]
    true = np.cumsum(ordered * self._abnormal, 1)[:, self._ends]
    false = np.cumsum(ordered * ~self._abnormal, 1)[:, self._ends]
    steps = np.diff(false, axis=1, prepend=0)
    hits = np.diff(true, axis=1, prepend=0)
    # A tie counts one half.
    areas = np.sum(steps * (true - hits / 2), 1)
    return (
      areas / (true[:, -1] * false[:, -1]),
      intervals.precisions(true, false),
    )
