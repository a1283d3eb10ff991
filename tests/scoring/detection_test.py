"""Local detection against the reference's numbers and against its rule."""

import numpy as np
import pytest
from scipy import stats
from skimage import metrics as sk

from medad_jax.scoring import detection, fidelity, intervals, metrics
from tests.golden import cases, filler

GOLDEN = cases.load("ra_eval")
SETS = GOLDEN["sets"]


def unit(case, shape):
  return (filler.named_images(case, shape) + 1) / 2


def pair(name):
  """Images and reconstructions in [0, 1] of a golden set, [n h w c]."""
  shape = (SETS[name][0], 1, 128, 128)
  x = unit(f"ra_eval/{name}", shape)
  r = np.float32(0.85) * x + np.float32(0.15) * unit(
    f"ra_eval/{name}_rec", shape
  )
  return (v.transpose(0, 2, 3, 1) for v in (x, r))


def maps_of(name):
  count, scale = SETS[name]
  shape = (count, 1, 128, 128)
  signed = filler.named_images(f"ra_eval/{name}_map", shape)
  return 4 * scale * np.abs(signed) ** 3 * unit(f"ra_eval/{name}_map2", shape)


def local():
  """Maps, fractional boxes and healthy masks of the golden rows."""
  shape = (6, 1, 128, 128)
  maps = 0.02 * np.abs(filler.named_images("ra_eval/local_map", shape))
  maps[1] *= 0.05
  marks = np.zeros((6, 128, 128), np.float32)
  for mark, (top, bottom, left, right) in zip(
    marks, GOLDEN["boxes"], strict=True
  ):
    mark[top - 1 : bottom + 1, left - 1 : right + 1] = 0.25
    mark[top:bottom, left:right] = 1
  healthy = unit("ra_eval/local_neg", shape)[:, 0] > 0.5
  return maps, marks, healthy


def test_every_box_is_judged_as_by_the_reference():
  maps, marks, healthy = local()
  threshold = float(GOLDEN["threshold"])
  for row, wanted in enumerate(GOLDEN["terms/local"]):
    got = detection.outcomes(maps[row], marks[row], healthy[row], threshold)
    recall = got.found
    found = (got.found, got.false_positives, got.precision, recall, got.f1)
    np.testing.assert_array_equal(np.ravel(found), wanted)
    assert np.count_nonzero(marks[row]) == GOLDEN["count_mask"][row]


def test_draws_are_counted_one_by_one():
  """Two draws that find different boxes: their mean map finds neither."""
  maps, marks, healthy = local()
  drawn = np.zeros((6, 2, 128, 128), np.float32)
  drawn[:3, 0], drawn[2:, 1] = maps[:3, 0], maps[2:, 0]
  classes = ("wml", "artefacts", "wml", "edema", "edema", "artefacts")
  regions = detection.Regions(np.arange(6), classes, marks, healthy)
  threshold = float(GOLDEN["threshold"])
  found = detection.detect(drawn, regions, {"published": threshold})
  total = found.at["published"].total
  hit = GOLDEN["terms/local"][:, 0]
  assert total.per_draw == (hit[:3].sum(), hit[2:].sum())
  assert total.found == np.mean(total.per_draw)
  assert total.found_std == np.std(total.per_draw, ddof=1)
  assert total.rate == total.found / 6
  classes = found.at["published"].classes
  assert {k: v.boxes for k, v in classes.items()} == {
    **{"wml": 2, "artefacts": 2, "edema": 2}
  }
  assert sum(v.found for v in classes.values()) == total.found
  rest = found.at["published"].without_artefacts
  assert rest.boxes == 4
  assert rest.found == total.found - classes["artefacts"].found


def test_seeds_are_further_draws():
  maps, marks, healthy = local()
  regions = detection.Regions(np.arange(6), ("a",) * 6, marks, healthy)
  parts = [detection.detect(maps, regions, {"1%": t}) for t in (0.009, 0.001)]
  both = detection.over_seeds(parts).at["1%"]
  assert both.threshold == pytest.approx(0.005)
  counts = [part.at["1%"].total.per_draw[0] for part in parts]
  assert both.total.per_draw == tuple(counts)
  assert both.total.found == both.classes["a"].found == np.mean(counts)
  assert both.without_artefacts is None


def test_boxes_are_those_around_regions():
  masks = np.zeros((3, 9, 9), bool)
  masks[0, 1, 1:4] = masks[0, 2, 4] = True  # one region, by a corner
  masks[2, 0, 0] = masks[2, 5:7, 5:9] = True
  rows, marks = detection.boxes(masks)
  np.testing.assert_array_equal(rows, [0, 2, 2])
  assert [int(mark.sum()) for mark in marks] == [8, 1, 8]
  assert marks[0, 1:3, 1:5].all()


def test_thresholds_are_the_references_up_to_its_grid():
  """The reference searches 0, 0.001, ..., 0.999 for pixels strictly above."""
  maps = maps_of("Normal_brain")
  wanted = dict(
    zip(
      GOLDEN["threshold_names"],
      GOLDEN["terms/thresholds"],
      strict=True,
    )
  )
  grid = np.arange(1000) / 1000
  rates = np.array([100 * np.mean(maps > t) for t in grid])
  for name, exact in detection.thresholds(maps).items():
    percent = int(name.rstrip("%"))
    # The last threshold that is low enough, in the order of rising rates.
    order = np.argsort(rates)
    walked = grid[order[rates[order] <= percent][-1]]
    smallest = grid[rates <= percent].min()
    assert walked == smallest == pytest.approx(wanted[f"th_{percent}"])
    assert rates[grid == walked] == pytest.approx(wanted[f"fpr_{percent}"])
    assert exact <= walked < exact + 0.001
    assert np.mean(maps >= exact) <= percent / 100
    assert np.mean(maps >= np.nextafter(np.float32(exact), 0)) > percent / 100


def test_a_walk_over_tied_rates_would_be_arbitrary():
  """Where the rate jumps, the smallest threshold is the one to take."""
  maps = np.full((1, 1, 10, 10), 0.0, np.float32)
  maps[0, 0, :1] = 0.04
  for threshold in detection.thresholds(maps).values():
    assert threshold == np.nextafter(np.float32(0.04), np.float32(1))
  zeros = detection.thresholds(np.zeros((1, 1, 4, 4), np.float32))
  assert all(0 < threshold < 1e-40 for threshold in zeros.values())


def test_global_detection_is_the_references():
  names = GOLDEN["global_names"]
  wanted = dict(zip(names, GOLDEN["terms/global"], strict=True))
  normal = GOLDEN["score/Normal_brain"]
  np.testing.assert_allclose(
    maps_of("Normal_brain").mean((1, 2, 3)), normal, rtol=1e-5
  )
  for name in ("global_pathology", "global_artefacts"):
    scores = np.concatenate([normal, GOLDEN[f"score/{name}"]])
    labels = np.arange(len(scores)) >= len(normal)
    found = metrics.rank(labels.astype(int), scores)
    got = {
      "auroc": found.auroc,
      "auprc": found.ap,
      "fpr95": found.fpr95,
      "fpr99": found.fpr99,
    }
    for key, value in got.items():
      assert value == pytest.approx(wanted[f"{name}/{key}"], abs=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_fidelity_is_the_references(name):
  x, r = pair(name)
  mae, ssim = (
    fidelity.mean_absolute_error(x, r),
    fidelity.structural_similarity(x, r),
  )
  np.testing.assert_allclose(mae, GOLDEN[f"l1/{name}"], atol=1e-8)
  np.testing.assert_allclose(ssim, GOLDEN[f"ssim/{name}"], atol=3e-6)


def test_similarity_is_scikit_images():
  rng = np.random.default_rng(0)
  x, y = rng.uniform(size=(2, 3, 9, 12, 3))
  wanted = [
    sk.structural_similarity(a, b, data_range=1.0, channel_axis=-1)
    for a, b in zip(x, y, strict=True)
  ]
  np.testing.assert_allclose(fidelity.structural_similarity(x, y), wanted)
  assert fidelity.structural_similarity(x[:, :6], y[:, :6]) is None


@pytest.mark.parametrize("count", [1, 7, 171])
def test_wilsons_interval_is_scipys(count):
  for found in {0, 1, count // 2, count}:
    wanted = stats.binomtest(found, count).proportion_ci(0.95, "wilson")
    got = intervals.wilson_interval(found, count)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_wilsons_interval_of_the_published_rate():
  """147 of 171 boxes: 86.0 %."""
  low, high = intervals.wilson_interval(147, 171)
  assert (round(low, 3), round(high, 3)) == (0.8, 0.904)
  assert intervals.wilson_interval(0, 0) is None


def test_boxes_of_one_image_widen_the_interval():
  marks = np.zeros((6, 4, 4), bool)
  marks[:, :2] = True
  maps = np.zeros((6, 1, 4, 4), np.float32)
  maps[:3] = 1
  healthy = ~marks

  def rate(patients):
    regions = detection.Regions(
      np.arange(6), ("a",) * 6, marks, healthy, patients
    )
    found = detection.detect(maps, regions, {"5%": 0.5})
    assert found is not None
    return found.at["5%"].total

  apart, together = rate(None), rate(np.array([0, 0, 0, 1, 1, 1]))
  assert apart.rate == together.rate == 0.5
  assert apart.rate_ci == intervals.wilson_interval(3, 6)
  assert together.design > 2 > apart.design == 1
  assert np.diff(together.rate_ci) > 1.3 * np.diff(apart.rate_ci)
  merged = detection.over_seeds(
    [detection.Detection({"5%": at(rate_of)}) for rate_of in (apart, together)]
  )
  assert merged.at["5%"].total.design == (apart.design + together.design) / 2


def at(rate):
  return detection.AtThreshold(0.5, rate, None, {"a": rate})
