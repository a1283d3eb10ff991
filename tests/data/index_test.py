import numpy as np
import pytest

from medad_jax.data import index
from medad_jax.methods import ddad
from medad_jax.types import NORMAL, Pool, UserError

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


def test_a_tiny_last_batch_is_told():
  def said(count, drop_last=False):
    pools = (np.arange(count),)
    return index.Order(pools, ("a",), (0,), 64, drop_last=drop_last).few()

  assert "has 4 of 64 images" in said(900) and "has 8 of 64" in said(904)
  assert not any([said(896), said(905), said(900, drop_last=True)])


def test_pools_are_prefixes_of_the_unlabelled_lists():
  pools = mixed(20, 0.6)
  np.testing.assert_array_equal(pools["normal"], np.arange(50))
  expected = [*range(50), *range(50, 58), *range(60, 72)]
  np.testing.assert_array_equal(pools["mixed"], expected)


def test_a_ratio_that_asks_for_too_much_is_refused_or_truncated():
  with pytest.raises(UserError, match=r"28 of unlabelled_abnormal \(there are"):
    mixed(40, 0.7)
  assert len(mixed(40, 0.7, truncate=True)["mixed"]) == 50 + 10 + 20


BANK = Pool("bank", {"train": None}, folds=(0, 1), of=3)
REST = Pool("rest", {"train": None}, folds=(2,), of=3)


def test_parts_of_a_pool_take_turns():
  rows = {"bank": np.arange(7), "rest": np.arange(7), "other": np.arange(2)}
  found = index.fold((BANK, REST), rows)
  assert found["bank"].tolist() == [0, 1, 3, 4, 6]
  assert found["rest"].tolist() == [2, 5]
  assert found["other"].tolist() == [0, 1]
  with pytest.raises(UserError, match=r"train on, 2: .*'rest'.*give more"):
    index.fold((REST,), {"rest": np.arange(2)})


def test_a_patient_is_in_one_part():
  rows = {"bank": np.arange(8), "rest": np.arange(8)}
  patients = np.array([4, 4, 2, 2, 2, 9, 4, 5])
  found = index.fold((BANK, REST), rows, patients)
  assert found["rest"].tolist() == [5]
  assert sorted([*found["bank"], 5]) == list(range(8))
  # Two patients cannot fill three parts.
  found = index.fold((REST,), rows, np.repeat([0, 1], 4))
  assert found["rest"].tolist() == [2, 5]


def test_a_patient_is_held_out_as_a_whole_and_from_all_pools():
  pools = {index.NORMAL: np.arange(12), "unlabelled": np.arange(24)}
  patients = np.tile(np.repeat([7, 3, 5, 9], 3), 2)
  found = index.hold_out(pools, 0.5, patients)
  held = set(patients[found[index.HELD_OUT]])
  assert held == {7, 5}  # at even distances in the order of the rows
  assert found[index.HELD_OUT].tolist() == [0, 1, 2, 6, 7, 8]
  for name, rows in pools.items():
    assert not held & set(patients[found[name]])
    left = [row for row in rows if patients[row] not in held]
    assert found[name].tolist() == left


@pytest.mark.parametrize("share", [0.0, 0.1, 0.33])
def test_images_of_as_many_patients_are_held_out_as_images(share):
  pools = {index.NORMAL: np.arange(12), "unlabelled": np.arange(20)}
  apart = index.hold_out(pools, share)
  numbered = index.hold_out(pools, share, np.arange(20)[::-1])
  for name, rows in apart.items():
    np.testing.assert_array_equal(rows, numbered[name])


def test_copies_of_a_row_are_pairs_of_their_own():
  rows = np.array([3, 7])
  pairs = index.pairs(rows, 5)
  assert sorted(divmod(int(n), 5) for n in pairs) == [
    (row, copy) for row in rows for copy in range(5)
  ]
  plain = index.Order((pairs,), ("a",), (0,), 10, copies=5)
  found = plain.rows(0, 1, [0])
  assert set(found) == {"id", "source", "slot", "copy"}
  assert set(found["id"].ravel()) == {3, 7}
  assert found["copy"].max() == 4 and found["copy"].dtype == np.int32
  assert index.pairs(rows, 1) is rows
