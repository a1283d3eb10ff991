"""Folds are read as they were written, and mean what they meant."""

import json

import numpy as np
import pytest

from medad_jax.data import folds
from medad_jax.types import UserError

NAMES = ("a.png", "b.png", "c.png", "d.png")


def some(source="unlabelled_abnormal"):
  one = folds.Fold(*(np.array([n]) for n in range(4)))
  digests = {name: folds.digest_of(NAMES) for name in ("train", source)}
  return folds.Folds("tiny:3", digests, "by hand", source, (), (one, one))


def test_they_come_back(tmp_path):
  path = folds.path_of(tmp_path, "tiny:3")
  assert path == tmp_path / "tiny" / "folds_3.json"
  folds.write(path, some())
  found = folds.read(path)
  assert (found.name, found.digests) == ("tiny:3", some().digests)
  assert found.splits == ("train", "unlabelled_abnormal")
  for one in found.folds:
    rows = (one.train, one.validation, one.normal, one.anomalies)
    np.testing.assert_array_equal(rows, [[0], [1], [2], [3]])


def test_rows_of_other_images_are_refused():
  some().check({"train": NAMES})
  with pytest.raises(UserError, match="made of other images in train"):
    some().check({"train": NAMES[::-1]})


@pytest.mark.parametrize("source", ["test", "test_other"])
def test_anomalies_of_a_test_set_are_refused(tmp_path, source):
  folds.write(tmp_path / "folds.json", some(source))
  with pytest.raises(UserError, match="cannot be tested by them"):
    folds.read(tmp_path / "folds.json")


@pytest.mark.parametrize(
  ("change", "says"),
  [
    (lambda tree: tree.pop("digests"), "is damaged"),
    (lambda tree: tree["folds"][0].pop("normal"), "is damaged"),
    (lambda tree: tree["folds"][0].update(train=[]), "is damaged"),
    (lambda tree: tree["folds"][0].update(train=["x"]), "is damaged"),
  ],
)
def test_damage_is_one_sentence(tmp_path, change, says):
  path = tmp_path / "folds.json"
  with pytest.raises(UserError, match="there are no folds"):
    folds.read(path)
  folds.write(path, some())
  tree = json.loads(path.read_text())
  change(tree)
  path.write_text(json.dumps(tree))
  with pytest.raises(UserError, match=says):
    folds.read(path)
