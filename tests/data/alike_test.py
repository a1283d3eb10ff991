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
