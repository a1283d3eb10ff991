"""Synthetic anomalies have the published distribution and obey their recipe."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from medad_jax import types
from medad_jax.augment.nsa import synthesis
from tests.augment import waves

RECIPES = {
  "cutpaste": synthesis.CUTPASTE,
  "fpi": synthesis.FPI,
  "pii": synthesis.PII,
  "nsa": synthesis.NSA,
}
BATCH = 32
# Much to compute: worth compiling well.
_FAST = {"xla_backend_optimization_level": 1}


@functools.cache
def program(name):
  """A batch of one recipe, compiled once."""
  one = functools.partial(synthesis.synthesize, recipe=RECIPES[name])
  return jax.jit(jax.vmap(one), compiler_options=_FAST)


def synthesize(name, image, source, seed=0):
  """A batch of the same two images with other draws."""
  keys = jax.random.split(jax.random.key(seed), BATCH)
  pair = (
    np.broadcast_to(a[..., None], (BATCH, *a.shape, 1)) for a in (image, source)
  )
  got = jax.tree.map(np.asarray, program(name)(keys, *pair))
  return got._replace(image=got.image[..., 0])


@functools.cache
def first(name):
  return synthesize(name, waves.IMAGE, waves.SOURCE)


@functools.cache
def drawn(name, batches=12):
  """Numbers of each image, and its boxes."""
  rows = []
  for seed in range(batches):
    got = synthesize(name, waves.IMAGE, waves.SOURCE, seed) if seed else None
    got = got or first(name)
    rows.append(
      {
        "placed": got.placed.sum(1),
        "label": got.label.mean((1, 2)),
        "on": (got.label > 0).mean((1, 2)),
        "change": abs(got.image - waves.IMAGE).mean((1, 2)),
        "boxes": got.boxes[got.placed],
      }
    )
  return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


# Of 12,000 images of the reference: placed patches, shares of images with 0 to
# 3 of them, mean label and its deviation, labelled share, mean change, mean
# height and width, quantiles of heights.
PUBLISHED = {
  "cutpaste": (2.013, (0, 0.245, 0.498, 0.258), (0.0857, 0.0437), 0.0857)
  + (3.78, (47.6, 47.7), (26, 34, 44, 56, 82, 180)),
  "fpi": (1.997, (0, 0.250, 0.503, 0.247), (0.0399, 0.0319), 0.0775)
  + (1.46, (47.8, 47.7), (26, 34, 44, 56, 82, 180)),
  "pii": (1.997, (0, 0.250, 0.503, 0.247), (0.0286, 0.0262), 0.0513)
  + (0.443, (47.8, 47.7), (26, 34, 44, 56, 82, 180)),
  "nsa": (1.991, (0.0004, 0.256, 0.497, 0.247), (0.0492, 0.0317), 0.0616)
  + (1.005, (45.6, 45.9), (20, 31, 42, 57, 87, 90)),
}
REFERENCE = 12_000


@pytest.mark.parametrize("name", PUBLISHED)
def test_distribution_is_the_published_one(name):
  """Each number within four standard errors of both samples together."""
  placed, shares, (label, deviation), on, change, sizes, _ = PUBLISHED[name]
  got = drawn(name)
  _near(got["placed"], placed)
  for count, share in enumerate(shares):
    if share == 0:
      assert not (got["placed"] == count).any()
    else:
      _near(got["placed"] == count, share, np.sqrt(share * (1 - share)))
  _near(got["label"], label)
  _near(got["on"], on)
  _near(got["change"], change)
  for axis, size in enumerate(sizes):
    _near(got["boxes"][:, 2 + axis], size)
  spread = got["label"].std()
  fourth = ((got["label"] - got["label"].mean()) ** 4).mean()
  error = np.sqrt((fourth / spread**2 - spread**2) / (4 * len(got["label"])))
  assert abs(spread - deviation) < 4 * error


def _near(sample, mean, deviation=None):
  deviation = np.std(sample) if deviation is None else deviation
  error = deviation * np.sqrt(1 / len(sample) + 1 / REFERENCE)
  assert abs(np.mean(sample) - mean) < 4 * error


@pytest.mark.parametrize("name", PUBLISHED)
def test_heights_have_the_published_quantiles(name):
  *quantiles, most = PUBLISHED[name][-1]
  heights = drawn(name)["boxes"][:, 2]
  for share, height in zip(
    (0.05, 0.25, 0.5, 0.75, 0.95), quantiles, strict=True
  ):
    error = np.sqrt(share * (1 - share) * (1 / len(heights) + 1 / REFERENCE))
    assert (heights < height).mean() < share + 4 * error
    assert (heights <= height).mean() > share - 4 * error
  assert heights.max() <= most


@pytest.mark.parametrize("name", RECIPES)
def test_outside_its_boxes_an_image_stays_as_it_was(name):
  got = first(name)
  assert got.image.min() >= 0 and got.image.max() <= 255
  np.testing.assert_array_equal(got.image, np.round(got.image))
  for image, label, placed, boxes in zip(*got, strict=True):
    assert not boxes[~placed].any()
    inside = np.zeros(image.shape, bool)
    for top, left, height, width in boxes[placed]:
      assert min(top, left) >= 0 and max(top + height, left + width) <= 224
      inside[top : top + height, left : left + width] = True
    np.testing.assert_array_equal(image[~inside], waves.IMAGE[~inside])
    # A median of 25 reaches two pixels beyond, where two boxes meet.
    assert not label[~ndimage.binary_dilation(inside, np.ones((5, 5)))].any()
  assert got.placed[:, 0].all()


def test_labels_have_their_values():
  assert set(np.unique(first("cutpaste").label)) == {0, 1}
  for name in ("fpi", "pii"):
    factors = [np.unique(label[label > 0]) for label in first(name).label]
    factors = [one for one in factors if len(one)]
    assert len(factors) > 25
    assert all(len(one) == 1 and 0.05 <= one[0] < 0.95 for one in factors)
    assert np.ptp(np.concatenate(factors)) > 0.7
  label = first("nsa").label
  assert 0.119 < label[label > 0].min() < 0.12
  assert 0.98 < label.max() <= 1


def _objects(image):
  return ndimage.median_filter(np.uint8(image > 20), 7, mode="nearest") > 0


@pytest.mark.parametrize("name", ["fpi", "pii"])
def test_unshifted_recipes_follow_from_their_boxes(name):
  """Both images are known at a box, so that nothing is left to chance."""
  got = first(name)
  touched = _objects(waves.IMAGE) | _objects(waves.SOURCE)
  checked = 0
  for image, label, placed, boxes in zip(*got, strict=True):
    factor = label.max()
    if factor == 0:
      continue
    region = np.zeros(image.shape, bool)
    blended = waves.IMAGE.astype(float)
    for top, left, height, width in boxes[placed]:
      box = np.s_[top : top + height, left : left + width]
      region[box] = touched[box]
      mixture = (1 - factor) * blended[box] + factor * waves.SOURCE[box]
      blended[box] = np.where(touched[box], np.floor(mixture), blended[box])
    if name == "fpi":
      # A level lost to rounding is at most as many as there are patches.
      assert abs(image - blended).max() <= 2
      assert (image != blended).mean() < 0.002
    change = region & (abs(image - waves.IMAGE) >= 2)
    on = ndimage.median_filter(np.uint8(change), 5, mode="nearest")
    np.testing.assert_array_equal(label, factor * on)
    checked += 1
  assert checked > 25


def test_cutpaste_pastes_a_part_of_the_image():
  """All of noise is object, and no two places look alike."""
  noise = np.random.RandomState(0).randint(21, 256, (224, 224)).astype(np.uint8)
  got = synthesize("cutpaste", noise, waves.SOURCE)
  alone = got.placed.sum(1) == 1
  assert alone.sum() > 3
  moved = 0
  for image, boxes in zip(got.image[alone], got.boxes[alone], strict=True):
    top, left, height, width = boxes[0]
    assert min(top, left) > 0 and max(top + height, left + width) < 224
    pasted = image[top : top + height, left : left + width]
    start = np.lib.stride_tricks.sliding_window_view(noise, (1, 8))
    at = np.argwhere((start == pasted[:1, :8]).all((2, 3)))
    parts = [noise[y : y + height, x : x + width] for y, x in at]
    assert any(np.array_equal(part, pasted) for part in parts)
    moved += tuple(at[0]) != (top, left)
  assert moved > 2


def test_a_later_patch_takes_its_box_from_earlier_ones():
  """Amid a change is a label, unless a later patch had no object there."""
  generator = np.random.RandomState(0)
  image = generator.randint(21, 256, (224, 224)).astype(np.uint8)
  holes = ndimage.binary_dilation(generator.rand(224, 224) < 6e-4, _ball(12))
  image[holes] = 0
  got = synthesize("cutpaste", image, image, seed=1)
  change = abs(got.image - image) >= 2
  amid = ndimage.minimum_filter(change, (1, 5, 5))
  lost = (amid & (got.label == 0)).any((1, 2))
  alone = got.placed.sum(1) == 1
  assert alone.any() and not lost[alone].any()
  assert lost[~alone].any()


def _ball(radius):
  y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
  return y * y + x * x <= radius * radius


@pytest.mark.parametrize("name", RECIPES)
def test_without_foreground_nothing_happens(name):
  dark = np.full((224, 224), 20, np.uint8)
  got = synthesize(name, dark, dark)
  np.testing.assert_array_equal(
    got.image, np.broadcast_to(dark, (BATCH, 224, 224))
  )
  assert not got.label.any() and not got.placed.any() and not got.boxes.any()


def test_a_dark_image_takes_patches_only_where_they_are_not_shifted():
  dark = np.full((224, 224), 20, np.uint8)
  got = synthesize("nsa", dark, waves.SOURCE)
  assert not got.placed.any() and not got.label.any()
  assert synthesize("fpi", dark, waves.SOURCE).placed[:, 0].all()


@pytest.mark.parametrize("name", ["fpi", "pii"])
def test_a_source_equal_to_the_image_changes_nothing_at_its_place(name):
  got = synthesize(name, waves.IMAGE, waves.IMAGE)
  assert got.placed[:, 0].all()
  # Cloning moves what is of odd width by a pixel.
  still = (got.boxes[..., 3] % 2 == 0).all(1) | (name == "fpi")
  assert still.sum() > 3
  assert (got.image[still] == waves.IMAGE).all()
  assert not got.label[still].any()


def test_a_source_equal_to_the_image_may_be_shifted():
  got = synthesize("nsa", waves.IMAGE, waves.IMAGE)
  assert got.placed[:, 0].all() and np.isfinite(got.label).all()
  assert (got.label.max((1, 2)) > 0).mean() > 0.9


def test_small_images():
  image, source = waves.IMAGE[60:116, 60:116], waves.SOURCE[60:116, 60:116]
  got = synthesize("nsa", image, source)
  assert np.isfinite(got.label).all()
  # OpenCV clones nothing into boxes of fewer than 50 inner pixels.
  sizes = got.boxes[got.placed][:, 2:]
  assert got.placed.any() and sizes.max() <= 22
  assert np.prod(sizes - 2, axis=1).min() >= 50
  assert (got.image != image).any()


def test_lengths_are_the_published_ones():
  assert synthesis.NSA.bounds(224) == (7, 90)
  assert synthesis.NSA.window(224) == 90
  assert synthesis.PII.window(224) == 180
  assert synthesis.NSA.bounds(56) == (2, 22)


@pytest.mark.parametrize("label", ["raw", "intensity"])
def test_intensity_labels_are_medians_of_the_change(label):
  generator = np.random.RandomState(0)
  before, after = generator.randint(0, 30, (2, 40, 44)).astype(float)
  region = np.zeros(before.shape, bool)
  region[5:30, 8:44] = True
  change = abs(after - before)
  on = ndimage.median_filter(
    np.uint8(region & (change >= 2)), 5, mode="nearest"
  )
  want = ndimage.median_filter(on * change, footprint=_ball(5), mode="nearest")
  if label == "intensity":
    want = on / (1 + np.exp(-0.5 * (want - 4)))
  got = synthesis._label(
    jnp.asarray(before, jnp.float32),
    jnp.asarray(after, jnp.float32),
    jnp.asarray(region),
    1.0,
    dataclasses.replace(synthesis.NSA, label=label),
  )
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_other_than_one_channel_is_refused():
  image = jnp.zeros((224, 224, 3), jnp.uint8)
  with pytest.raises(types.UserError, match="one channel, not 3"):
    synthesis.synthesize(jax.random.key(0), image, image, synthesis.NSA)


@pytest.mark.parametrize(("side", "largest"), [(16, 0.4), (224, 0.5)], ids=str)
def test_images_too_small_for_their_patches_are_refused(side, largest):
  image = jnp.zeros((side, side, 1), jnp.uint8)
  recipe = dataclasses.replace(synthesis.CUTPASTE, largest=largest)
  with pytest.raises(types.UserError, match=f"side of {side} pixels"):
    synthesis.synthesize(jax.random.key(0), image, image, recipe)
