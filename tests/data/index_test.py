import numpy as np
import pytest

from medad_jax.data import index
from medad_jax.methods import ddad
from medad_jax.types import NORMAL, UserError

COUNTS = {"train": 50, "unlabelled_normal": 10, "unlabelled_abnormal": 20}


def order(batch_size=8, seed=0):
  pools = (np.arange(50, 80), np.arange(20))
  return index.Order(pools, ("a", "b"), (seed, seed), batch_size)


def test_an_epoch_is_a_shuffled_pass_without_repeats():
  rows = order().rows(0, 3, [0])["id"].ravel()
  assert len(set(rows)) == 24 and set(rows) <= set(range(50, 80))
  assert list(rows) != sorted(rows)
  again = order().rows(3, 6, [0])["id"].ravel()
  assert list(again) != list(rows)  # the next epoch is another order


def test_rows_are_a_function_of_seed_and_step():
  whole = order().rows(0, 9, [0, 1])
  for start in (0, 4, 8):
    part = order().rows(start, start + 1, [1])
    for name in part:
      np.testing.assert_array_equal(part[name][0, 0], whole[name][start, 1])
  other = order(seed=1).rows(0, 9, [0, 1])
  assert not np.array_equal(other["id"], whole["id"])


def test_a_source_is_uniform_over_the_other_rows():
  pool = np.arange(100, 105)
  counts = np.zeros((5, 5), int)
  for epoch in range(2000):
    ids, sources = index.pass_rows(pool, 0, "m", epoch)
    np.add.at(counts, (ids - 100, sources - 100), 1)
  assert (np.diag(counts) == 0).all()
  others = counts[~np.eye(5, dtype=bool)]
  # 2000 draws over 4 rows: standard deviation 19.4, five of them allowed.
  assert abs(others - 500).max() < 97


def test_slots_number_the_global_batch():
  slot = order().rows(0, 2, [0, 1])["slot"]
  assert slot.shape == (2, 2, 8)
  np.testing.assert_array_equal(slot[1, 0], np.arange(8))


def test_steps_drop_the_last_partial_batch():
  assert order(8).epoch_steps() == (3, 2)
  with pytest.raises(UserError, match="b has 20 training images"):
    order(21).epoch_steps()


def mixed(extra, ratio, truncate=False):
  pool = ddad.Unlabelled(extra, ratio, truncate).pool()
  return index.make_pools((NORMAL, pool), COUNTS)


def test_pools_are_prefixes_of_the_unlabelled_lists():
  pools = mixed(20, 0.6)
  np.testing.assert_array_equal(pools["normal"], np.arange(50))
  expected = [*range(50), *range(50, 58), *range(60, 72)]
  np.testing.assert_array_equal(pools["mixed"], expected)


def test_a_ratio_that_asks_for_too_much_is_refused_or_truncated():
  with pytest.raises(UserError, match=r"28 of unlabelled_abnormal \(there are"):
    mixed(40, 0.7)
  assert len(mixed(40, 0.7, truncate=True)["mixed"]) == 50 + 10 + 20
