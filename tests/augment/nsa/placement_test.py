"""Places follow the law of guessing, which is written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from medad_jax.augment.nsa import placement

SIDE = 40
N = 3000  # draws of each test: programs are shared
_source = jax.jit(
  jax.vmap(placement.source, (0, None, None, None, None, None)),
  static_argnums=(3, 4),
)
_destination = jax.jit(
  jax.vmap(placement.destination, (0, None, None, None, None, None)),
  static_argnums=4,
)
_resize = jax.jit(
  jax.vmap(
    lambda key, size: placement.resize(key, size, (7, 90), (0.7, 1.3), 0.5),
    (0, None),
  )
)
_draw = jax.jit(jax.vmap(placement.draw, (0, None, None, None)))


def keys(n=N):
  return jax.random.split(jax.random.key(0), n)


def blob(center, radius):
  y, x = np.mgrid[:SIDE, :SIDE]
  return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def test_objects_are_brighter_than_the_background():
  image = np.full((20, 20), 20.0)
  image[:, 10:] = 21
  image[3, 3] = image[10, 15] = 255 - image[3, 3]  # alone, no object
  want = np.zeros((20, 20), bool)
  want[:, 10:] = True
  np.testing.assert_array_equal(placement.objects(jnp.asarray(image), 20), want)


def test_totals_count_what_is_above_and_left():
  mask = np.random.RandomState(0).rand(13, 13) < 0.4
  totals = np.asarray(placement.totals(jnp.asarray(mask)))
  assert not totals[0].any() and not totals[:, 0].any()
  for y, x in ((1, 1), (5, 9), (13, 13)):
    assert totals[y, x] == mask[:y, :x].sum()


def test_draw_has_the_law_of_guessing():
  good = np.zeros((6, 7), bool)
  places = [(0, 0), (2, 3), (2, 6), (5, 1), (5, 2)]
  good[tuple(zip(*places, strict=True))] = True
  place, found = map(np.asarray, _draw(keys(), good, 60, 9))
  chance = 1 - (1 - len(places) / 60) ** 9
  assert stats.binomtest(int(found.sum()), N, chance).pvalue > 0.001
  # Whether the search ends in time says nothing of where it would end.
  for drawn in (place[found], place[~found]):
    counts = [(drawn == one).all(1).sum() for one in places]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts).pvalue > 0.001


def test_draw_is_sure_where_all_is_good_and_fails_where_nothing_is():
  place, found = _draw(keys(), np.ones((3, 4), bool), 12, 199)
  assert found.all()
  assert (np.asarray(place).max(0) == [2, 3]).all()
  place, found = _draw(keys(), np.zeros((3, 4), bool), 12, 199)
  assert not found.any()
  assert (np.asarray(place) >= 0).all() and (np.asarray(place) < [3, 4]).all()


def guessed(generator, objects, half, margin, share, tries):
  """Top, left, height and width as the published code finds them, or None."""
  for _ in range(tries):
    center = generator.randint(margin, SIDE - margin, 2)
    start = np.clip(center - half, 0, SIDE)
    stop = np.clip(center + half, 0, SIDE)
    box = objects[start[0] : stop[0], start[1] : stop[1]]
    if box.sum() / box.size > share:
      return (*start, *(stop - start))
  return None


def test_source_has_the_law_of_guessing():
  """Few places are good, at a border that cuts boxes."""
  objects = blob((3, 22), 9)
  half, margin, share, tries = np.array([5, 6]), 2, 0.8, 25
  generator = np.random.RandomState(1)
  found = [
    guessed(generator, objects, half, margin, share, tries) for _ in range(N)
  ]
  want = np.array([box for box in found if box is not None])
  corner, size, got_found = _source(
    keys(),
    placement.totals(jnp.asarray(objects)),
    jnp.asarray(half),
    margin,
    share,
    tries,
  )
  got = np.concatenate([corner, size], 1)[np.asarray(got_found)]
  assert 0.3 < len(want) / N < 0.9
  assert same([len(want), N - len(want)], [len(got), N - len(got)])
  assert len(np.unique(want[:, 2])) > 2
  known = {tuple(box) for box in want}
  boxes = sorted(known | {tuple(box) for box in got})
  assert same(*([(a == b).all(1).sum() for b in boxes] for a in (want, got)))


def same(*counts):
  """Whether two samples may be of one law; rare kinds are one kind."""
  counts = np.array(counts)
  rare = counts.sum(0) < 10
  kinds = np.c_[counts[:, ~rare], counts[:, rare].sum(1)]
  return stats.chi2_contingency(kinds[:, kinds.any(0)]).pvalue > 0.001


def test_a_share_must_be_exceeded():
  objects = np.zeros((SIDE, SIDE), bool)
  objects[10:17, 10:20] = True  # never more than 70 of 10 x 10
  totals = placement.totals(jnp.asarray(objects))
  half = jnp.array([5, 5])
  assert not _source(keys(), totals, half, 2, 0.7, 10**6)[2].any()
  corner, _, found = _source(keys(), totals, half, 2, 0.69, 10**6)
  assert found.all()
  assert (np.asarray(corner)[:, 1] == 10).all()


def allowed(patch, objects, shares):
  """All corners where the patch may go, one after the other."""
  height, width = patch.shape
  corners = []
  for top in range(1, SIDE - 1 - 2 * (height // 2)):
    for left in range(1, SIDE - 1 - 2 * (width // 2)):
      both = patch & objects[top : top + height, left : left + width]
      if patch.mean() > shares[0] and both.sum() / patch.sum() > shares[1]:
        corners.append((top, left))
  return corners


def placed(patch, objects, shares=(0.7, 0.7), tries=199):
  window = np.zeros((20, 20), bool)
  height, width = patch.shape
  window[:height, :width] = patch
  corner, found = _destination(
    keys(),
    jnp.asarray(window),
    jnp.array([height, width]),
    placement.spectrum(jnp.asarray(objects)),
    shares,
    tries,
  )
  return np.asarray(corner), np.asarray(found)


@pytest.mark.parametrize("size", [(9, 12), (8, 15)], ids=str)
def test_destination_is_uniform_where_objects_meet(size):
  patch = np.ones(size, bool)
  patch[:2, :5] = False
  objects = blob((10, 28), 11)
  want = allowed(patch, objects, (0.7, 0.7))
  corner, found = placed(patch, objects)
  counts = np.zeros((SIDE, SIDE), int)
  np.add.at(counts, tuple(corner[found].T), 1)
  drawn = counts[tuple(np.transpose(want))]
  assert drawn.sum() == found.sum()
  assert len(want) > 50
  assert stats.chisquare(drawn).pvalue > 0.001


def test_destination_keeps_from_the_border():
  for size, last in (((9, 12), (30, 26)), ((19, 20), (20, 18))):
    corner, found = placed(np.ones(size, bool), np.ones((SIDE,) * 2, bool))
    assert found.all()
    np.testing.assert_array_equal(corner.min(0), [1, 1])
    np.testing.assert_array_equal(corner.max(0), last)


def test_destination_fails_without_objects():
  full, empty = np.ones((10, 10), bool), np.zeros((SIDE,) * 2, bool)
  sparse = full.copy()
  sparse[7:] = False  # 70 % and no more
  for patch, objects in ((full, empty), (sparse, ~empty), (~full, ~empty)):
    corner, found = placed(patch, objects)
    assert not found.any()
    assert (corner >= 0).all()


def test_destination_fails_as_often_as_guessing():
  patch, objects = np.ones((9, 12), bool), blob((10, 28), 6)
  share = len(allowed(patch, objects, (0.7, 0.7))) / (30 * 26)
  assert 0 < share < 0.05
  _, found = placed(patch, objects, tries=20)
  chance = 1 - (1 - share) ** 20
  assert stats.binomtest(int(found.sum()), N, chance).pvalue > 0.001


def test_half_sizes_have_the_published_law():
  bounds, law = (7, 90), (2, 0.03, 0.05)
  draw = jax.vmap(lambda key: placement.half_sizes(key, 224, bounds, law))
  got = np.asarray(jax.jit(draw)(keys(4000)))
  assert got.min() == 11
  shares = stats.gamma(2, 0.05 * 224, 0.03 * 224).cdf
  for axis in (0, 1):
    edges = np.array([0, 13, 16, 20, 25, 30, 40, np.inf])
    want = np.diff(shares(edges)) * len(got)
    counts = np.histogram(got[:, axis], edges)[0]
    assert stats.chisquare(counts, want).pvalue > 0.001
  assert abs(stats.spearmanr(got).statistic) < 0.06


def test_half_sizes_are_clipped():
  draw = jax.vmap(
    lambda key: placement.half_sizes(key, 224, (15, 20), (2, 0.03, 0.05))
  )
  got = np.asarray(jax.jit(draw)(keys(500)))
  assert got.min() == 15 and got.max() == 20


@pytest.mark.parametrize("size", [(60, 80), (20, 30), (8, 18), (180, 18)])
def test_resize_has_the_published_law(size):
  """Of the scale 27.4 % each are 0.7 and 1.3; both new sides have bounds."""
  got = np.asarray(_resize(keys(N), jnp.array(size)))
  scales = 1 + 0.5 * np.random.RandomState(0).randn(N)
  want = np.array([resized(size, scale) for scale in np.clip(scales, 0.7, 1.3)])
  kinds = np.unique(np.concatenate([want, got]), axis=0)
  assert same(*([(a == k).all(1).sum() for k in kinds] for a in (want, got)))


def resized(size, scale):
  """The published arithmetic."""
  height = np.clip(scale * size[0], 7, 90)
  width = np.clip(int(height / size[0] * size[1]), 7, 90)
  return np.clip(int(width / size[1] * size[0]), 7, 90), width
