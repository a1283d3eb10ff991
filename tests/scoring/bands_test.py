import numpy as np
import pytest

from medad_jax.scoring import bands, metrics


def sample(count, seed=0, gap=1.0):
  draw = np.random.RandomState(seed)
  labels = np.repeat([0, 1], count)
  return labels, draw.normal(size=2 * count) + gap * labels


def test_a_band_holds_its_curve_and_narrows_with_more_images():
  widths = []
  for count in (50, 800):
    labels, scores = sample(count)
    of_roc, of_precision = bands.bands(labels, scores)
    rate, recall = metrics.roc_curve(labels, scores)[:2]
    curve = np.interp(of_roc.at, rate, recall)
    inside = (of_roc.low <= curve + 0.02) & (curve - 0.02 <= of_roc.high)
    assert inside.all()
    assert (of_precision.low <= of_precision.high).all()
    widths.append(np.mean(of_roc.high - of_roc.low))
  assert widths[0] > 3 * widths[1]


def test_the_band_of_a_sensitivity_is_that_of_its_binomial():
  """At a rate, over many normal images, only the abnormal ones vary."""
  draw = np.random.RandomState(1)
  labels = np.repeat([0, 1], [20_000, 200])
  scores = draw.normal(size=20_200) + labels
  found, _ = bands.bands(labels, scores)
  at = 20  # a rate of 0.2, whose sensitivity is about 0.56
  half = (found.high[at] - found.low[at]) / 2
  assert half == pytest.approx(1.96 * np.sqrt(0.56 * 0.44 / 200), rel=0.2)


def test_scores_that_separate_have_no_width():
  labels = np.repeat([0, 1], 20)
  of_roc, of_precision = bands.bands(labels, labels * 1.0)
  assert (of_roc.low == 1).all() and (of_precision.low == 1).all()
  # Equal scores say nothing: the diagonal's end is all there is.
  of_roc, of_precision = bands.bands(labels, np.zeros(40))
  assert of_roc.low[-1] == 1 and of_roc.high[50] == 0
  np.testing.assert_allclose(of_precision.low, 0.5)


def test_one_class_has_no_band():
  assert bands.bands(np.zeros(4, int), np.arange(4.0)) is None
