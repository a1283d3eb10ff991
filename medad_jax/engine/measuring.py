"""Measuring: from the scores and maps of a test set to its results."""

from collections.abc import Iterable, Sequence
import dataclasses
from typing import Any

import numpy as np

from medad_jax.data import columns, spec
from medad_jax.engine.kept import Found, Kept
from medad_jax.report.results import Comparison, Score, TestSet
from medad_jax.scoring import (
  detection,
  evaluators,
  fidelity,
  metrics,
  over_seeds,
  pixel_intervals,
)
from medad_jax.types import Method

UNNAMED = "abnormal"  # the class of a region of which no other is known


@dataclasses.dataclass(frozen=True)
class Normal:
  """Normal images of the main test set, with which others are measured.

  Attributes:
    scores: by name, [m s].
    draws: of every draw by name, [m s d].
    texts: their columns by name.
    thresholds: of the maps of each score and seed, by the threshold's name.
  """

  scores: Found
  draws: Found
  texts: dict[str, tuple[str, ...]]
  thresholds: dict[str, list[dict[str, float]]]

  def __len__(self) -> int:
    return len(next(iter(self.scores.values())))


def normal(test: spec.Split, kept: Kept, method: Method) -> Normal:
  """The normal images of a test set, and thresholds of their maps.

  The headline's published threshold, if the method has one, comes first.
  """
  # Test images: a threshold on held-out ones would leave fewer to train on, and
  # the published thresholds are of test images, too.
  rows = np.flatnonzero(test.labels == 0)
  published = getattr(method, "published_threshold", None)
  *_, headline = kept.scores
  thresholds = {}
  for name, values in kept.scores.items():
    first = {}
    if published is not None and name == headline:
      first = {detection.PUBLISHED: float(published)}
    thresholds[name] = [
      first | _thresholds(kept, name, seed, rows)
      for seed in range(values.shape[1])
    ]
  return Normal(
    {name: values[rows] for name, values in kept.scores.items()},
    {name: values[rows] for name, values in kept.draws.items()},
    _some_texts(test, rows),
    thresholds,
  )


def measure(
  test: spec.Split,
  kept: Kept,
  healthy: Normal,
  rows: np.ndarray | None = None,
) -> tuple[TestSet, dict[str, list[Score]]]:
  """Results of a test set, or of some of its rows; also of every seed.

  Images without a normal one among them are ranked with those of `healthy`.
  """
  every = rows is None
  rows = np.arange(len(test)) if rows is None else rows
  found = _Rows(kept, rows, every)
  truth = _truth(test, rows, every, mapped=found.has_maps())
  scores, draws = found.scores, found.draws
  # A set with normal images of its own may be of another scanner: mixing them
  # would measure the difference of scanners.
  if len(healthy) and truth.labels.all():
    truth = _with_normal(truth, _some_texts(test, rows), healthy)
    scores = _beside(scores, healthy.scores)
    draws = _beside(draws, healthy.draws)
  per_seed = {}
  for name, values in scores.items():
    per_seed[name] = [
      _score(
        truth,
        evaluators.Found(
          values[:, seed],
          found.maps(name, seed),
          found.draw_maps(name, seed),
          healthy.thresholds[name][seed],
        ),
        draws[name][:, seed] if name in draws else None,
      )
      for seed in range(values.shape[1])
    ]
  close, spread = _fidelity(found.fidelity)
  whole = TestSet(
    {
      name: _with_intervals(
        _over_seeds(parts), truth, scores[name], name, found
      )
      for name, parts in per_seed.items()
    },
    tuple(_comparisons(truth, scores)),
    close,
    spread,
  )
  return whole, per_seed


class _Rows:
  """Results that are kept of some of the images."""

  def __init__(self, kept: Kept, rows: np.ndarray, every: bool):
    self._kept, self._rows, self._every = kept, rows, every
    self.scores = {k: v[rows] for k, v in kept.scores.items()}
    self.draws = {k: v[rows] for k, v in kept.draws.items()}
    self.fidelity = {k: v[rows] for k, v in kept.fidelity.items()}

  def has_maps(self) -> bool:
    return any(self._kept.maps(name, 0) is not None for name in self.scores)

  def maps(self, name: str, seed: int) -> np.ndarray | None:
    return self._some(self._kept.maps(name, seed))

  def draw_maps(self, name: str, seed: int) -> np.ndarray | None:
    return self._some(self._kept.draw_maps(name, seed))

  def _some(self, found: np.ndarray | None) -> np.ndarray | None:
    # All of them stay a map of the file.
    return found if found is None or self._every else found[self._rows]


def _thresholds(
  kept: Kept, name: str, seed: int, rows: np.ndarray
) -> dict[str, float]:
  maps = kept.draw_maps(name, seed)
  # The mean of draws is smoother than each: its threshold would be too low.
  if maps is None:
    maps = kept.maps(name, seed)
  if maps is None:
    return {}
  return detection.thresholds(maps[rows])


def _truth(
  test: spec.Split, rows: np.ndarray, every: bool, mapped: bool
) -> evaluators.Truth:
  masks = test.masks
  if masks is not None and not every:
    masks = masks[rows]
  # Without maps nothing looks for regions, whose masks take memory.
  regions = _regions(test, rows, masks) if mapped else None
  return evaluators.Truth(
    test.labels[rows],
    # Boxes hold healthy pixels, too: they do not say which ones are abnormal.
    masks if test.healthy is None else None,
    columns.patients(_some_texts(test, rows)),
    regions,
  )


def _regions(
  test: spec.Split, rows: np.ndarray, masks: np.ndarray | None
) -> detection.Regions | None:
  """Regions to find: boxes of the set, or those around its masks."""
  if masks is None:
    return None
  classes = test.columns.get(columns.FINDING, ("",) * len(test))
  kinds = [classes[row] for row in rows]
  if test.healthy is not None:
    # Rows without a finding are whole images, not boxes.
    at = np.array([i for i, kind in enumerate(kinds) if kind], int)
    marks, healthy = masks[at], test.healthy[rows]
  else:
    # Background counts as healthy, too: nobody outlined the body.
    at, marks = detection.boxes(masks)
    healthy = np.ones(masks.shape, bool)
    for row, mark in zip(at, marks, strict=True):
      healthy[row] &= ~mark
  named = tuple(kinds[i] or UNNAMED for i in at)
  patients = columns.patients(_some_texts(test, rows))
  whose = at if patients is None else patients[at]
  return detection.Regions(at, named, marks, healthy, whose)


def _with_normal(
  truth: evaluators.Truth, texts: columns.Texts, healthy: Normal
) -> evaluators.Truth:
  both = columns.concatenate(
    [texts, healthy.texts], [len(truth.labels), len(healthy)]
  )
  return dataclasses.replace(
    truth,
    labels=np.concatenate([truth.labels, np.zeros(len(healthy), int)]),
    patients=columns.patients(both),
  )


def _beside(ours: Found, others: Found) -> dict[str, np.ndarray]:
  return {k: np.concatenate([v, others[k]]) for k, v in ours.items()}


def _some_texts(
  test: spec.Split, rows: np.ndarray
) -> dict[str, tuple[str, ...]]:
  return {
    name: tuple(texts[row] for row in rows)
    for name, texts in test.columns.items()
  }


def _score(
  truth: evaluators.Truth,
  found: evaluators.Found,
  draws: np.ndarray | None,
) -> Score:
  """Every evaluator's metrics of one score of one training."""
  values = {
    name: evaluator(truth, found)
    for name, evaluator in evaluators.EVALUATORS.items()
  }
  spread = {} if draws is None else _over_draws(truth, draws)
  return Score(**values, over_draws=spread)


def _over_draws(
  truth: evaluators.Truth, draws: np.ndarray
) -> dict[str, over_seeds.Spread]:
  """The ranking's metrics of every draw [n d], where there are several."""
  if draws.shape[1] < 2:
    return {}
  of = {
    "auroc": lambda scores: metrics.auroc(truth.labels, scores),
    "ap": lambda scores: metrics.average_precision(truth.labels, scores),
    "fpr95": lambda s: metrics.false_positive_rate(truth.labels, s, 0.95),
    "fpr99": lambda s: metrics.false_positive_rate(truth.labels, s, 0.99),
  }
  return {
    name: over_seeds.spread([metric(scores) for scores in draws.T])
    for name, metric in of.items()
  }


def _over_seeds(scores: Sequence[Score]) -> Score:
  """The metrics of several trainings as one summary."""
  first, *others = scores
  if not others:
    return first
  values: dict[str, Any] = {}
  spreads: dict[str, over_seeds.Spread] = {}
  for name in ("ranking", "pixels", "accuracy"):
    parts = [getattr(score, name) for score in scores]
    if parts[0] is not None:
      values[name], spread = over_seeds.over_seeds(parts)
      spreads |= spread
  found = None
  if first.detection is not None:
    found = detection.over_seeds([s.detection for s in scores if s.detection])
  return Score(**values, over_seeds=spreads, detection=found)


def _with_intervals(
  score: Score,
  truth: evaluators.Truth,
  values: np.ndarray,
  name: str,
  of: _Rows,
) -> Score:
  """The summary with intervals that one training's metrics do not have.

  They describe sampling of images or patients with these trainings.
  """
  if values.shape[1] > 1:
    auroc, ap = metrics.mean_intervals(truth.labels, values, truth.patients)
    ranking = dataclasses.replace(score.ranking, auroc_ci=auroc, ap_ci=ap)
    score = dataclasses.replace(score, ranking=ranking)
  if score.pixels is None or truth.masks is None:
    return score
  # Once more from the disk: an evaluator sees one training at a time.
  maps = [of.maps(name, seed) for seed in range(values.shape[1])]
  # Normal images of another set may follow the labels of these.
  own = len(truth.masks)
  patients = None if truth.patients is None else truth.patients[:own]
  found = pixel_intervals.of_means(
    [one for one in maps if one is not None],
    truth.masks,
    (truth.labels[:own], patients),
    {key: getattr(score.pixels, key) for key in pixel_intervals.NAMES},
  )
  named: dict[str, Any] = {f"{key}_ci": ends for key, ends in found.items()}
  pixels = dataclasses.replace(score.pixels, **named)
  return dataclasses.replace(score, pixels=pixels)


def _fidelity(
  found: Found,
) -> tuple[fidelity.Fidelity | None, dict[str, over_seeds.Spread]]:
  """Means over the images, and their spread over the seeds."""
  if not found:
    return None, {}
  mean = {name: values.mean(0, dtype=float) for name, values in found.items()}

  def of(name: str, seed: int) -> float | None:
    return float(mean[name][seed]) if name in mean else None

  return over_seeds.over_seeds(
    [
      fidelity.Fidelity(float(mae), of("ssim", seed), of("lpips_alex", seed))
      for seed, mae in enumerate(mean["mae"])
    ]
  )


def _comparisons(
  truth: evaluators.Truth, scores: Found
) -> Iterable[Comparison]:
  """The headline with each other score; of one training only."""
  *others, headline = scores
  # DeLong's test knows the sampling of images, not variation over seeds.
  if scores[headline].shape[1] > 1:
    return
  for other in others:
    found = metrics.compare(
      truth.labels,
      scores[headline][:, 0],
      scores[other][:, 0],
      truth.patients,
    )
    yield Comparison(headline, other, *(found or (None, None, None)))
