"""A set with classes, one of which is normal."""

import numpy as np
import pytest

from medad_jax.data import one_class, spec
from medad_jax.types import UserError


def split(classes, masks=False):
  """Images that hold their row's number."""
  count = len(classes)
  images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
  return spec.Split(
    images=np.broadcast_to(images, (count, 2, 2, 1)),
    labels=np.zeros(count, np.int32),
    names=tuple(f"{i}.png" for i in range(count)),
    masks=np.zeros((count, 2, 2), bool) if masks else None,
    columns={"class": tuple(classes), "site": tuple("ab" * count)[:count]},
  )


def made(**splits):
  counts = {name: len(split) for name, split in splits.items()}
  return spec.Dataset("digits", splits, "f" * 64, counts)


def test_its_own_images_train_and_all_are_tested():
  whole = made(train=split("0120210"), test=split("210", masks=True))
  found = one_class.select(whole, "2")
  train, test = found.splits["train"], found.splits["test"]
  assert train.images[:, 0, 0, 0].tolist() == [2, 4]
  assert train.labels.tolist() == [0, 0]
  assert train.names == ("2.png", "4.png")
  assert train.columns == {"class": ("2", "2"), "site": ("a", "a")}
  assert test.images[:, 0, 0, 0].tolist() == [0, 1, 2]
  assert test.labels.tolist() == [0, 1, 1]
  assert len(test.masks) == 3
  assert found.name == "digits:2"


def test_classes_are_told_apart_whatever_is_opened():
  """An evaluation opens the test images alone."""
  train, test = split("01"), split("01")
  whole, part = made(train=train, test=test), made(test=test)
  part = spec.Dataset(part.name, part.splits, "f" * 64, whole.counts)
  prints = [
    (
      one_class.select(one, normal).fingerprint,
      one_class.select(one, normal).counts,
    )
    for one in (whole, part)
    for normal in "01"
  ]
  assert prints[0] == prints[2] and prints[1] == prints[3]
  assert prints[0] != prints[1]


def test_a_set_with_labels_needs_no_class():
  whole = made(test=split("01"))
  whole.splits["test"].labels[1] = 1
  assert one_class.select(whole, None) is whole
  plain = made(test=split("01"))
  plain.splits["test"].columns.clear()
  assert one_class.select(plain, None) is plain


@pytest.mark.parametrize(
  ("normal", "says"),
  [
    (
      "10",
      "'10', and digits has the classes 0, 1, 2; set data.name to digits:0",
    ),
    ("", "names the class ''"),
    (None, "no anomalies; name the class.*data.name=digits:0"),
  ],
)
def test_a_class_that_does_not_exist(normal, says):
  with pytest.raises(UserError, match=says):
    one_class.select(made(test=split("012")), normal)


def test_a_set_without_classes():
  whole = made(test=split("01"))
  whole.splits["test"].columns.clear()
  with pytest.raises(
    UserError, match="has no classes; set data.name to digits"
  ):
    one_class.select(whole, "3")


def test_a_name_and_its_class():
  assert one_class.parse("svhn") == ("svhn", None)
  assert one_class.parse("svhn:7") == ("svhn", "7")
