"""Intervals of pixels' metrics: what a draw measures, and what they hold."""

import numpy as np
import pytest

from medad_jax.scoring import by_patient, pixel_intervals, pixel_metrics

NAMES = pixel_intervals.NAMES


def draw(seed, images=30, each=1, side=16):
  """Maps, masks, labels and patients; half of the variance is the patient's."""
  rng = np.random.default_rng(seed)
  labels = np.repeat([0, 1], images)
  own = np.arange(images) // each
  whose = np.concatenate([own, images + own])
  shared = rng.normal(size=2 * images)[whose]
  maps = rng.normal(size=(2 * images, side, side))
  maps += 0.5 * shared[:, None, None]
  masks = np.zeros(maps.shape, bool)
  for row in range(images, 2 * images):
    top, left = rng.integers(0, side - 4, 2)
    masks[row, top : top + 3, left : left + 4] = True
  return (maps + 1.5 * masks).astype(np.float32), masks, labels, whose


def values_of(maps, masks):
  found = pixel_metrics.summarize(maps, masks)
  return {name: getattr(found, name) for name in NAMES}


def test_a_draw_is_the_set_that_repeats_its_images():
  maps, masks, labels, _ = draw(0)
  weights = by_patient.draw(labels, by_patient.alone(labels), 3, 0)
  drawn = pixel_intervals._drawn(maps, masks, weights)
  for row, weight in enumerate(weights):
    wanted = values_of(np.repeat(maps, weight, 0), np.repeat(masks, weight, 0))
    found = {name: drawn[name][row] for name in NAMES}
    # Few thresholds: the error is far below an interval's width.
    assert found == pytest.approx(wanted, abs=0.01)
    assert found["pixel_auroc"] == pytest.approx(
      wanted["pixel_auroc"], abs=0.001
    )


def test_intervals_hold_the_truth():
  truth = values_of(*draw(1, 5000)[:2])
  held = dict.fromkeys(NAMES, 0)
  count = 40
  for seed in range(count):
    maps, masks, labels, _ = draw(100 + seed)
    found = pixel_intervals.of_means(
      [maps], masks, (labels, None), values_of(maps, masks)
    )
    for name, (low, high) in found.items():
      held[name] += low <= truth[name] <= high
  # Three standard errors of 40 tries at 95 % are 0.10. The best Dice of few
  # images is too high: its threshold saw them.
  assert all(0.85 <= number / count for number in held.values()), held
  assert min(held.values()) < count  # an interval of everything holds all


def test_patients_widen_them_and_their_order_does_not_matter():
  maps, masks, labels, whose = draw(2, each=3)
  values = values_of(maps, masks)
  wide = pixel_intervals.of_means([maps], masks, (labels, whose), values)
  narrow = pixel_intervals.of_means([maps], masks, (labels, None), values)
  for name in ("pixel_auroc", "aupro"):
    assert np.diff(wide[name]) > 1.3 * np.diff(narrow[name])
  again = pixel_intervals.of_means([maps], masks, (labels, whose), values)
  assert again == wide
  other = pixel_intervals.of_means(
    [maps], masks, (labels, whose), values, seed=1
  )
  assert other != wide


def test_a_mean_of_trainings_is_resampled_as_one():
  maps, masks, labels, _ = draw(3)
  noise = np.random.default_rng(4).normal(size=maps.shape)
  others = (maps + 0.1 * noise).astype(np.float32)
  each = [values_of(x, masks) for x in (maps, others)]
  mean = {name: (each[0][name] + each[1][name]) / 2 for name in NAMES}
  found = pixel_intervals.of_means([maps, others], masks, (labels, None), mean)
  alone = pixel_intervals.of_means([maps], masks, (labels, None), each[0])
  for name in NAMES:
    low, high = found[name]
    assert low < mean[name] < high
    # The images are the same: a second training adds no second sample.
    assert np.diff(found[name]) > 0.8 * np.diff(alone[name])


@pytest.mark.parametrize("lesions", [0, 1])
def test_without_lesions_in_two_images_there_is_none(lesions):
  maps, masks, labels, _ = draw(5, 6)
  masks[6 + lesions :] = False
  found = pixel_intervals.of_means(
    [maps], masks, (labels, None), dict.fromkeys(NAMES, 0.5)
  )
  assert found == dict.fromkeys(NAMES)


def test_an_undefined_or_perfect_value_has_none():
  maps, masks, labels, _ = draw(6, 6)
  values = dict(zip(NAMES, (None, 1.0, 0.0, 0.5), strict=True))
  found = pixel_intervals.of_means([maps], masks, (labels, None), values)
  assert [ends is None for ends in found.values()] == [True, True, True, False]
