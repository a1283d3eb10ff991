"""Several sets as one: rows, columns, masks and what names them."""

import dataclasses

import numpy as np
import pytest

from medad_jax.data import columns, joint, spec
from medad_jax.types import UserError


def split(first, count, masks=False, **texts):
  """Images that all hold their number."""
  values = np.arange(first, first + count, dtype=np.uint8)
  images = np.broadcast_to(values[:, None, None, None], (count, 2, 2, 1))
  return spec.Split(
    images,
    values.astype(np.int32) % 2,
    tuple(f"{v}.png" for v in values),
    images[..., 0] > 101 if masks else None,
    {k: (text,) * count for k, text in texts.items()},
  )


def made(name, first, counts, masks=False, **texts):
  splits, at = {}, first
  for one, count in counts.items():
    splits[one] = split(at, count, masks, **texts)
    at += count
  return spec.Dataset(name, splits, name * 8, counts)


A = made("a", 0, {"train": 9, "test": 4}, organ="brain", patient="p1")
B = made("b", 100, {"train": 3, "test": 2, "test_far": 5}, masks=True, site="x")


def test_rows_keep_what_belongs_to_them():
  found = joint.join([A, B])
  assert found.name == "a,b"
  assert found.counts == {"train": 12, "test": 6, "test_far": 5}
  for one in found.splits.values():
    numbers = one.images[:, 0, 0, 0].tolist()
    assert one.names == tuple(f"{n}.png" for n in numbers)
    assert one.labels.tolist() == [n % 2 for n in numbers]
    for row, number in enumerate(numbers):
      known = {name: texts[row] for name, texts in one.columns.items()}
      if number < 100:
        expected = {"set": "a", "organ": "brain", "patient": "p1", "site": ""}
      else:
        expected = {"set": "b", "organ": "", "patient": "", "site": "x"}
      assert known == {k: expected[k] for k in known}


def test_a_prefix_of_a_training_split_has_its_share_of_each_set():
  train = joint.join([A, B]).splits["train"]
  sets = np.array(train.columns["set"])
  for count in (4, 8, 12):
    some = sets[:count].tolist()
    assert (some.count("a"), some.count("b")) == (3 * count // 4, count // 4)
  numbers = train.images[:, 0, 0, 0]
  for name in "ab":  # and each set's rows are in their order
    assert (np.diff(numbers[sets == name]) > 0).all()


def test_test_images_follow_set_after_set():
  test = joint.join([A, B]).splits["test"]
  assert test.columns["set"] == ("a",) * 4 + ("b",) * 2


def test_masks_are_there_where_all_sets_have_them():
  found = joint.join([A, B])
  assert found.splits["test"].masks is None
  far = found.splits["test_far"]
  np.testing.assert_array_equal(far.masks, far.images[..., 0] > 101)


def test_one_set_stays_what_it_is_but_for_its_name():
  found = joint.join([A])
  assert found.fingerprint == A.fingerprint
  for name, one in found.splits.items():
    assert one.images is A.splits[name].images
    assert one.columns == {**A.splits[name].columns, "set": ("a",) * len(one)}


def test_the_fingerprint_is_over_all_sets():
  prints = {
    joint.join(sets).fingerprint
    for sets in (
      [A, B],
      [B, A],
      [A, dataclasses.replace(B, fingerprint="other")],
      [A, dataclasses.replace(B, name="c")],
    )
  }
  assert len(prints) == 4


def test_a_set_is_named_once(tmp_path):
  with pytest.raises(UserError, match="'a, a' names a set more than once"):
    joint.open_sets("a, a", tmp_path, image_size=16)


def test_a_set_and_a_further_test_set_have_different_names():
  far = dataclasses.replace(A, name="far")
  with pytest.raises(UserError, match="far is both a set and, as test_far"):
    joint.join([far, B])


def test_codes_are_places_among_the_sorted_texts_of_the_training():
  texts = {"organ": ("liver", "", "brain", "liver"), "age": ("7",) * 4}
  codes = columns.make_codes(texts, ["organ"])
  assert codes == {"organ": ["", "brain", "liver"]}
  assert columns.encode(texts, codes, 4)["organ"].tolist() == [2, 0, 1, 2]
  new = {"organ": ("lung", "brain")}
  assert columns.encode(new, codes, 2)["organ"].tolist() == [-1, 1]
  assert columns.encode(None, {"organ": ["a"]}, 2)["organ"].tolist() == [-1, -1]
  with pytest.raises(UserError, match="reads the columns site.*has age, organ"):
    columns.make_codes(texts, ["organ", "site"])


def test_patients_of_two_sets_are_not_the_same():
  texts = {
    "set": ("a", "a", "b", "b", "b"),
    "patient": ("1", "1", "1", "", ""),
  }
  found = columns.patients(texts)
  assert found[0] == found[1]
  assert len(set(found.tolist())) == 4
  assert columns.patients({"patient": ("", "")}) is None
  assert columns.patients({}) is None


@pytest.fixture
def opened(monkeypatch):
  """Sets A and C without files; what was asked of each by name."""
  whole = {
    "a": A,
    "c": made("c", 50, {"train": 6, "val": 2, "test": 3, "test_far": 4}),
  }
  asked = {}

  def open_dataset(name, *, need, further_tests, **_):
    asked[name] = need
    one = whole[name]
    if further_tests:
      need = (*need, *filter(spec.is_further_test, one.splits))
    return dataclasses.replace(one, splits={k: one.splits[k] for k in need})

  monkeypatch.setattr(spec, "open_dataset", open_dataset)
  return asked


def open_sets(names, need):
  return joint.open_sets(names, image_size=2, need=need, further_tests=True)


def test_a_set_may_train_with_all_splits_and_be_tested_with_none(opened):
  found = open_sets("c@train+val+test,a", ("train", "test"))
  assert opened == {"c": ("train", "val", "test"), "a": ("train", "test")}
  train, test = found.splits["train"], found.splits["test"]
  assert found.splits.keys() == {"train", "test"}
  assert found.counts == {"train": 11 + 9, "test": 4}
  assert set(test.columns["set"]) == {"a"}
  numbers = sorted(train.images[:, 0, 0, 0].tolist())
  assert numbers == [*range(9), *range(50, 61)]
  assert train.columns["set"].count("c") == 11
  # An evaluation opens no training images, and finds the same data.
  later = open_sets("c@train+val+test,a", ("test",))
  assert opened["c"] == ()
  assert (later.fingerprint, later.counts) == (found.fingerprint, found.counts)
  other = open_sets("c@train+val,a", ("test",))
  assert other.fingerprint != found.fingerprint


@pytest.mark.parametrize(
  "names, message",
  [
    ("c@train", "no set with test"),
    ("c@,a", "after the @"),
    ("c@train,c", "more than once"),
  ],
)
def test_what_cannot_be_tested_is_one_sentence(opened, names, message):
  with pytest.raises(UserError, match=message):
    open_sets(names, ("train", "test"))


def test_healthy_pixels_stay_with_their_rows():
  far = B.splits["test_far"]
  boxes = dataclasses.replace(far, healthy=far.images[..., 0] % 2 == 0)
  both = [
    dataclasses.replace(B, name=name, splits={"train": boxes})
    for name in ("b", "d")
  ]
  train = joint.join(both).splits["train"]
  np.testing.assert_array_equal(train.healthy, train.images[..., 0] % 2 == 0)
  assert joint.join([A, B]).splits["train"].healthy is None
