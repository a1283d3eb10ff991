import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from medad_jax.scoring import pixel_metrics

RANKED = ("pixel_auroc", "pixel_ap", "oracle_dice", "aupro")


def uniform(n, j):
  """Numbers in [0, 1) from an integer hash of position and j."""
  mask = 2**32 - 1
  h = (np.arange(n, dtype=np.uint64) + j * 0x9E3779B1) & mask
  h ^= h >> 16
  h = h * 0x7FEB352D & mask
  h ^= h >> 15
  h = h * 0x846CA68B & mask
  h ^= h >> 16
  return h / 2.0**32


def sets():
  """Small maps and masks: many ties, then few; sparse masks, then full."""
  rng = np.random.default_rng(0)
  for trial in range(60):
    shape = tuple(rng.integers(1, 9, 3)) if trial % 2 else (3, 9, 8)
    masks = rng.random(shape) < rng.uniform(0.02, 0.9)
    masks[rng.random(len(masks)) < 0.3] = False
    masks.flat[:2] = True, False
    levels = rng.integers(1, 10) if trial % 3 else 10**6
    values = rng.integers(-levels, levels, shape) / np.float32(7)
    yield values.astype(np.float32), masks


def plain_regions(mask):
  """Sets of pixels that touch, also at corners, by flood."""
  left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
  while left:
    region, front = set(), [left.pop()]
    while front:
      y, x = front.pop()
      region.add((y, x))
      near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
      left -= near
      front += near
    yield region


def plain_aupro(maps, masks, limit=0.3):
  """Each threshold alone, then trapezoids up to the limit."""
  regions = [
    [float(values[pixel]) for pixel in region]
    for values, mask in zip(maps, masks, strict=True)
    for region in plain_regions(mask)
  ]
  negatives = maps[~masks].tolist()
  points = [(0.0, 0.0)]
  for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
    found = [sum(v >= threshold for v in r) / len(r) for r in regions]
    false = sum(v >= threshold for v in negatives) / len(negatives)
    points.append((false, sum(found) / len(found)))
  area = 0.0
  for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
    if x0 < limit and x1 > x0:
      end = min(x1, limit)
      height = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
      area += (end - x0) * (y0 + height) / 2
  return area / limit


def plain_dice(maps, masks):
  """The reference's recipe, a threshold at a time."""
  values = np.sort(maps.ravel())
  best = -1.0, None
  for threshold in values[:: max(1, len(values) // 200)]:
    flagged = maps > threshold
    dice = 2 * (flagged & masks).sum() / (flagged.sum() + masks.sum())
    if dice > best[0]:
      best = dice, threshold
  return best


numbers = dataclasses.asdict


def test_golden_numbers():
  np.testing.assert_allclose(
    uniform(4, 1000), [0.245547898, 0.041734412, 0.048329762, 0.11526941]
  )
  masks = (uniform(1536, 4001) > 0.8).reshape(6, 16, 16)
  masks[:2] = False
  noise = (uniform(1536, j).reshape(masks.shape) for j in (4000, 4002))
  maps = (0.7 * next(noise) + 0.3 * masks * next(noise)).astype(np.float32)
  found = pixel_metrics.summarize(maps, masks)
  assert found.n_pixels == 1536
  assert found.n_positive == 183
  wanted = {
    "oracle_dice": 0.28358209,
    "oracle_dice_threshold": 0.62010896,
    "pixel_ap": 0.32858305,
    "pixel_auroc": 0.65492591,
  }
  assert {k: getattr(found, k) for k in wanted} == pytest.approx(
    wanted, abs=6e-9
  )


def test_areas_equal_scikit_learn():
  for maps, masks in sets():
    found = pixel_metrics.summarize(maps, masks)
    flat = masks.ravel(), maps.ravel()
    auroc = sklearn_metrics.roc_auc_score(*flat)
    assert found.pixel_auroc == pytest.approx(auroc, abs=1e-12)
    ap = sklearn_metrics.average_precision_score(*flat)
    assert found.pixel_ap == pytest.approx(ap, abs=1e-12)


def test_region_overlap_equals_a_plain_loop():
  for maps, masks in sets():
    found = pixel_metrics.summarize(maps, masks)
    wanted = plain_aupro(maps, masks)
    assert found.aupro == pytest.approx(wanted, abs=1e-12)


def test_dice_equals_a_plain_loop():
  for maps, masks in sets():
    found = pixel_metrics.summarize(maps, masks)
    dice, threshold = plain_dice(maps, masks)
    assert found.oracle_dice == pytest.approx(dice, abs=1e-12)
    assert found.oracle_dice_threshold == threshold


@pytest.mark.parametrize("shape", [(1, 10, 15), (1, 19, 21), (2, 40, 40)])
def test_dice_thresholds_are_those_of_the_recipe(shape):
  """Below, at and far above 200 pixels, where the step is 1, 1 and 16."""
  maps = uniform(int(np.prod(shape)), 1).astype(np.float32).reshape(shape)
  masks = uniform(maps.size, 2).reshape(shape) > 0.7
  found = pixel_metrics.summarize(maps, masks)
  dice, threshold = plain_dice(maps, masks)
  assert found.oracle_dice == pytest.approx(dice, abs=1e-12)
  assert found.oracle_dice_threshold == threshold


def test_chunks_change_nothing(monkeypatch):
  for maps, masks in sets():
    whole = pixel_metrics.summarize(maps, masks)
    for size in (1, 7):
      with monkeypatch.context() as patch:
        patch.setattr(pixel_metrics, "_CHUNK", size)
        parts = pixel_metrics.summarize(maps, masks)
      assert numbers(parts) == pytest.approx(numbers(whole), abs=1e-12)


def test_order_of_images_and_monotone_scales_change_nothing():
  rng = np.random.default_rng(1)
  for maps, masks in sets():
    found = pixel_metrics.summarize(maps, masks)
    order = rng.permutation(len(maps))
    moved = pixel_metrics.summarize(maps[order], masks[order])
    assert numbers(moved) == pytest.approx(numbers(found), abs=1e-12)
    scaled = pixel_metrics.summarize(maps * np.float32(4), masks)
    for name in RANKED:
      assert numbers(scaled)[name] == pytest.approx(
        numbers(found)[name], abs=1e-12
      )


def test_a_perfect_map():
  _, masks = next(sets())
  found = pixel_metrics.summarize(masks.astype(np.float32), masks)
  for name in RANKED:
    assert numbers(found)[name] == pytest.approx(1.0, abs=1e-12)


def test_a_constant_map_is_chance():
  _, masks = next(sets())
  found = pixel_metrics.summarize(np.full(masks.shape, 3, np.float32), masks)
  assert found.pixel_auroc == 0.5
  assert found.pixel_ap == pytest.approx(masks.mean())
  # The curve is the diagonal: 0.3^2 / 2 of area, divided by 0.3.
  assert found.aupro == pytest.approx(0.15)
  assert found.oracle_dice == 0.0


def test_small_regions_weigh_as_much_as_large_ones():
  masks = np.zeros((2, 10, 10), bool)
  masks[0, :5] = True
  masks[1, 9, 9] = True
  maps = masks.astype(np.float32)
  maps[1, 9, 9] = -1
  assert pixel_metrics.summarize(maps, masks).aupro == pytest.approx(0.5)


def test_regions_touch_at_corners_and_end_with_their_image():
  mask = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]])
  sizes = pixel_metrics.region_sizes(mask.astype(bool))
  np.testing.assert_array_equal(sizes, [2, 2, 2, 2, 3, 3, 3])
  assert pixel_metrics.region_sizes(np.zeros((3, 4), bool)).shape == (0,)
  for _, masks in sets():
    for mask in masks:
      wanted = np.zeros(mask.shape)
      for region in plain_regions(mask):
        wanted[tuple(zip(*region, strict=True))] = len(region)
      np.testing.assert_array_equal(
        pixel_metrics.region_sizes(mask), wanted[mask]
      )


def test_both_zeros_are_one_value():
  masks = np.array([[[True, False]]])
  maps = np.array([[[0.0, -0.0]]], np.float32)
  assert pixel_metrics.summarize(maps, masks).pixel_auroc == 0.5


def test_doubles_are_not_rounded():
  maps = np.array([[[np.nextafter(1.0, 2.0), 1.0]]])
  masks = np.array([[[True, False]]])
  assert pixel_metrics.summarize(maps, masks).pixel_auroc == 1.0


def test_a_memory_map_is_read_and_left_as_it_is(tmp_path):
  maps, masks = next(sets())
  maps.tofile(tmp_path / "maps")
  mapped = np.memmap(tmp_path / "maps", np.float32, "r+", shape=maps.shape)
  assert pixel_metrics.summarize(mapped, masks) == pixel_metrics.summarize(
    maps, masks
  )
  np.testing.assert_array_equal(mapped, maps)


@pytest.mark.parametrize("fill", [False, True])
def test_missing_class_is_undefined(fill):
  masks = np.full((2, 3, 4), fill)
  maps = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
  found = pixel_metrics.summarize(maps, masks)
  assert found == pixel_metrics.Pixels(*[None] * 5, 24, 24 * fill)


def test_empty_set_is_undefined():
  maps = np.zeros((0, 4, 4), np.float32)
  found = pixel_metrics.summarize(maps, np.zeros((0, 4, 4), bool))
  assert found.pixel_auroc is None
  assert found.n_pixels == 0


def test_summary_is_plain():
  found = pixel_metrics.summarize(*next(sets()))
  # Intervals are added where several trainings are seen at once.
  values = {k: v for k, v in numbers(found).items() if not k.endswith("_ci")}
  assert {type(v) for v in values.values()} == {float, int}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_values_are_refused(bad):
  maps = np.zeros((3, 4, 5), np.float32)
  maps[1, 2, 3] = maps[2, 0, 0] = bad
  with pytest.raises(
    ValueError, match=r"2 of 60 .* image 1 at row 2, column 3"
  ):
    pixel_metrics.summarize(maps, np.zeros(maps.shape, bool))


def test_masks_of_another_shape_are_refused():
  maps = np.zeros((3, 4, 5), np.float32)
  with pytest.raises(ValueError, match=r"\(3, 4, 5\) .* \(3, 5, 4\)"):
    pixel_metrics.summarize(maps, np.zeros((3, 5, 4), bool))
