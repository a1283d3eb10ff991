"""Arrays one after another: as numpy would join them, and without a copy."""

import tracemalloc

import numpy as np
import pytest

from medad_jax.data import feeds, index, joined, resident, stream

PARTS = [
  np.random.RandomState(i).randint(0, 256, (n, 4, 4, 1)).astype(np.uint8)
  for i, n in enumerate((5, 1, 7))
]
WHOLE = np.concatenate(PARTS)


@pytest.mark.parametrize(
  "rows",
  [
    slice(None),
    slice(4, 8),
    np.array([0, 12, 5, 5, 3]),
    np.array([[[1, 6]], [[12, -1]]], np.int32),
    np.arange(13) % 2 == 0,
    np.array([], int),
  ],
  ids=str,
)
def test_rows_are_those_of_the_concatenation(rows):
  found = joined.Joined(PARTS)
  np.testing.assert_array_equal(found[rows], WHOLE[rows])
  assert (found.shape, found.dtype) == (WHOLE.shape, WHOLE.dtype)
  assert (len(found), found.nbytes) == (len(WHOLE), WHOLE.nbytes)
  np.testing.assert_array_equal(np.asarray(found), WHOLE)


def test_a_row_beyond_the_end_is_an_error():
  with pytest.raises(IndexError):
    joined.Joined(PARTS)[np.array([13])]


def test_one_array_is_itself():
  assert joined.join(PARTS[:1]) is PARTS[0]


@pytest.mark.parametrize("kind", [resident.Resident, stream.Stream])
def test_feeds_take_joined_arrays(kind):
  order = index.Order((np.arange(13),), ("a",), (0,), 4)
  bounds = [(0, 2), (2, 3)]
  for one, other in zip(
    kind(WHOLE).chunks(order, bounds, [0], True),
    kind(joined.Joined(PARTS)).chunks(order, bounds, [0], True),
    strict=True,
  ):
    assert one.keys() == other.keys()
    for name, array in one.items():
      np.testing.assert_array_equal(array, other[name])
  np.testing.assert_array_equal(
    kind(joined.Joined(PARTS)).images[np.arange(13)], WHOLE
  )


def test_a_set_that_is_streamed_is_not_copied(tmp_path):
  """Splits of 8 MB are mapped, a few rows of them are in memory."""
  parts = []
  for i in range(2):
    path = tmp_path / f"{i}.npy"
    np.save(path, np.full((2000, 64, 64, 1), i, np.uint8))
    parts.append(np.load(path, mmap_mode="r"))
  order = index.Order((np.arange(4000),), ("a",), (0,), 16)
  import grain  # noqa: F401  imported before memory is counted

  tracemalloc.start()
  feed = feeds.choose(joined.join(parts), None, limit_mb=1.0)
  for _ in feed.chunks(order, [(i, i + 1) for i in range(40)], [0], False):
    pass
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert isinstance(feed, stream.Stream)
  assert peak < 4e6
