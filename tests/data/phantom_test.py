"""Generated scans: the same every time, with masks that are exact."""

import numpy as np
import pytest

from medad_jax.data import joint
from medad_jax.data.phantom import lesions, scan, slices

NUMBERS = range(40)


@pytest.fixture(scope="module")
def twins():
  return [(scan.render(i, False), scan.render(i, True)) for i in NUMBERS]


def test_a_scan_is_a_function_of_its_number_and_the_seed():
  first = scan.encode(7, True)
  assert scan.encode(7, True) == first
  assert scan.encode(8, True) != first
  other = scan.render(7, True, seed=1)
  assert not np.array_equal(other.image, scan.render(7, True).image)


def test_twins_differ_inside_the_mask_only(twins):
  for healthy, ill in twins:
    assert not healthy.mask.any()
    assert healthy.kind == "healthy"
    changed = healthy.image != ill.image
    assert not (changed & ~ill.mask).any()
    # Rounding to 8 bits may hide a faint pixel, but not most of a lesion.
    assert changed[ill.mask].mean() > 0.7


def test_lesions_are_of_all_kinds_and_many_sizes(twins):
  assert {ill.kind for _, ill in twins} == set(lesions.KINDS)
  areas = [ill.mask.mean() for _, ill in twins]
  assert min(areas) < 0.03
  assert max(areas) > 0.06


def test_neither_brightness_nor_contrast_gives_lesions_away(twins):
  for statistic in (np.mean, np.std):
    healthy = np.array([statistic(scan.image) for scan, _ in twins])
    ill = np.array([statistic(scan.image) for _, scan in twins])
    above = (ill[:, None] > healthy[None]).mean()  # the AUROC
    assert 0.35 < above < 0.65


@pytest.fixture(scope="module")
def chests():
  pairs = range(12)
  return [
    [scan.render(i, ill, organ="chest") for ill in (False, True)] for i in pairs
  ]


def test_chests_are_another_organ_with_lesions_in_the_lungs(chests, twins):
  for healthy, ill in chests:
    changed = healthy.image != ill.image
    assert not (changed & ~ill.mask).any()
    assert changed[ill.mask].mean() > 0.7
  heads, lungs = (
    np.mean([pair[0].image for pair in pairs], 0) for pairs in (twins, chests)
  )
  # Where a head has white matter, a chest has a lung.
  assert heads[64, 36] > 2 * lungs[64, 36]


def test_sets_of_two_organs_name_them(tmp_path, monkeypatch):
  few = {k: (2 * (n > 0), 2 * (m > 0)) for k, (n, m) in slices.COUNTS.items()}
  monkeypatch.setattr(slices, "COUNTS", few)
  both = joint.open_sets("phantom,phantom_chest", tmp_path, image_size=16)
  assert both.counts["test"] == 4 + 2
  test = both.splits["test"].columns
  assert test["organ"] == ("brain",) * 4 + ("chest",) * 2
  assert test["modality"] == ("MR",) * 4 + ("CT",) * 2
