"""Images that belong together are found, and stay on one side."""

import numpy as np

from medad_jax.data import alike, index, joined
from tests import tiny


def same(numbers):
  """For each image, the first one of its group."""
  first = {}
  return [first.setdefault(n, row) for row, n in enumerate(numbers.tolist())]


def test_equal_images_are_one_group():
  images = tiny.images(6)
  images[[3, 5]] = images[0]
  wanted = [0, 1, 2, 0, 4, 0]
  assert same(alike.groups(images, None)) == wanted
  parts = joined.Joined([images[:4], images[4:]])
  assert same(alike.groups(parts, None)) == wanted


def test_patients_with_an_image_in_common_are_one_group():
  images = tiny.images(8)
  images[4], images[6] = images[1], images[5]
  # 0 and 2 share an image, 2 and 3 another; 1 has none in common.
  patients = np.array([0, 0, 1, 1, 2, 2, 3, 3])
  assert same(alike.groups(images, patients)) == [0, 0, 2, 2, 0, 0, 0, 0]


def test_a_twin_is_held_out_with_its_image():
  images = tiny.images(12)
  images[7] = images[0]
  groups = alike.groups(images, None)
  found = index.hold_out({index.NORMAL: np.arange(12)}, 0.25, groups)
  held = set(found[index.HELD_OUT].tolist())
  assert {0, 7} <= held
  assert not held & set(found[index.NORMAL].tolist())


def test_nearly_the_same_image_of_two_patients_is_told():
  images = tiny.images(8)
  noise = np.random.RandomState(0).normal(0, 1, images[2].shape)
  darker = images[2].astype(float) * 0.8 + 10 + noise
  images[5] = images[6] = np.clip(darker, 0, 255).astype(np.uint8)
  patients = np.array([0, 1, 2, 3, 4, 5, 2, 7])
  assert alike.near(images, patients) == [(2, 5), (5, 6)]


def test_pairs_are_the_same_whatever_is_compared_at_a_time(monkeypatch):
  images = tiny.images(11)
  images[[4, 7, 10]] = images[[1, 1, 3]] // 2
  wanted = [(1, 4), (1, 7), (3, 10), (4, 7)]
  patients = np.arange(11)
  assert alike.near(images, patients) == wanted
  monkeypatch.setattr(alike, "_TILE", 3)
  monkeypatch.setattr(alike, "_READ", 2)
  assert alike.near(images, patients) == wanted


def test_pairs_are_the_same_for_audits_and_for_folders():
  images = tiny.images(9, shape=(48, 48, 3))
  # A copy of half the contrast, and one whose number is just too far away.
  images[6] = images[1] // 2 + 40
  noise = np.random.RandomState(1).normal(0, 60, images[3].shape)
  images[7] = np.clip(images[3] + noise, 0, 255).astype(np.uint8)
  images[8] = 77  # flat: like nothing, also not itself
  small = np.stack([alike.thumbnail(image) for image in images])
  assert [*alike.nearest(small[:5], small[5:])] == [(1, 1)]
  assert alike.near(images, np.arange(9)) == [(1, 6)]
  likeness = small @ small.T
  assert likeness[1, 6] >= alike.NEAR > likeness[3, 7] > 0.9
  assert not small[8].any()


def test_a_thumbnail_knows_no_storage():
  gray = tiny.images(1, shape=(40, 40, 1))[0]
  wanted = alike.thumbnail(gray)
  colored = np.repeat(gray, 3, -1)
  for other in (gray[..., 0], colored):
    np.testing.assert_array_equal(alike.thumbnail(other), wanted)
  assert wanted.shape == (alike.SIDE**2,)
  np.testing.assert_allclose([wanted.sum(), wanted @ wanted], [0, 1], atol=1e-5)
