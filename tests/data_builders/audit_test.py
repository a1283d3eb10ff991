"""Audits of built sets: twins, near ones, patients, trivial scores."""

import json
import shutil

import numpy as np
import pytest

from data_builders import audit, audit_findings, audit_images, build
from medad_jax.data import columns, spec, store
from medad_jax.types import UserError
from tests.data_builders import sources


def small(count, seed):
  rng = np.random.default_rng(seed)
  flat = rng.normal(size=(count, 64)).astype(np.float32)
  flat -= flat.mean(1, keepdims=True)
  return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def seen(count, seed, labels=None, **fields):
  names = tuple(f"{seed}_{n}.png" for n in range(count))
  digests = tuple(name.encode() for name in names)
  return audit_images.Seen(
    names,
    np.zeros(count, int) if labels is None else np.array(labels),
    fields.pop("columns", {}),
    fields.pop("files", digests),
    fields.pop("pixels", digests),
    fields.pop("small", small(count, seed)),
    {"mean brightness": np.arange(count, dtype=float)}
    | fields.pop("scores", {}),
    fields.pop("sizes", ("8x8",) * count),
  )


def find(train, test, **more):
  return audit_findings.find({"train": train, "test": test, **more}, str.upper)


def test_twins_and_near_duplicates_are_counted_by_split():
  train = seen(4, 1)
  noisy = small(4, 2)
  noisy[3] = train.small[2] + 0.001 * small(1, 9)[0]
  noisy[3] /= np.linalg.norm(noisy[3])
  test = seen(
    4,
    2,
    [0, 0, 1, 1],
    files=(train.files[1], b"a", b"b", b"c"),
    pixels=(train.pixels[1], train.pixels[0], b"b", b"c"),
    small=noisy,
  )
  found = find(train, test, unlabelled_normal=seen(2, 3))
  assert found.twins == {"test": {"train": [(0, 1), (1, 0)]}}
  assert found.near == {"test": {"train": [(3, 2)]}}
  assert found.sentences[:3] == (
    "1 of 2 normal images of test have a byte-identical twin in train",
    "1 of 2 normal images of test have a twin of equal pixels in another file"
    " in train",
    "1 of 2 abnormal images of test have no twin but a near duplicate in train",
  )


def test_patients_by_column_and_else_by_name():
  def known(*names):
    return {"columns": {columns.PATIENT: names}}

  found = find(seen(2, 1, **known("a", "b")), seen(2, 2, **known("b", "c")))
  assert any(
    "1 of 2 patients of test are in train" in x for x in found.sentences
  )
  found = audit_findings.find(
    {"train": seen(1, 1), "test": seen(1, 2)}, lambda name: "same"
  )
  assert any("by the names of files" in x for x in found.sentences)


def test_scores_sizes_and_columns_that_tell_the_classes_apart():
  labels = [1, 1, 1, 0, 0, 0]
  found = find(
    seen(2, 1),
    seen(
      6,
      2,
      labels,
      sizes=("9x9",) * 3 + ("8x8",) * 3,
      columns={"view": ("PA", "AP") * 3, "site": ("x",) * 3 + ("y",) * 3},
    ),
  )
  assert found.trivial == {"minus mean brightness": 1.0}
  assert "minus mean brightness alone reaches AUROC 1.000" in found.sentences
  assert set(found.tables) == {
    "image sizes",
    "values of the column view",
    "values of the column site",
  }
  assert found.tables["image sizes"] == [("9x9", 0.0, 1.0), ("8x8", 1.0, 0.0)]


def test_nothing_found_is_said():
  found = find(seen(3, 1), seen(4, 2))
  assert found.sentences == ("nothing that would make scores too good",)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """A set whose first test image is also a training image."""
  root = tmp_path_factory.mktemp("audited")
  source = sources.class_folders(root / "source")
  shutil.copy(source / "train/normal/0.png", source / "test/normal/0.png")
  folder = build.build(
    "folder", source=source, data_dir=root / "data", name="mine"
  )
  return root / "data", folder


def test_every_build_is_audited_and_the_set_knows(built, capsys):
  root, folder = built
  tree = json.loads((folder / "audit.json").read_text())
  assert list(tree["twins"]) == ["test"]
  [[row, _]] = tree["twins"]["test"]["train"]
  dataset = spec.open_dataset("mine", root, image_size=8)
  test = dataset.splits["test"]
  assert test.columns[columns.TWIN][row] == "train"
  assert dataset.audits["mine"]["sentences"] == tree["sentences"]
  apart = columns.without_twins(test.columns, ("train",), len(test))
  assert len(apart["without_twins"]) == len(test) - 1
  assert columns.without_twins(test.columns, (), len(test)) == {}
  # The command makes the same again, with a picture.
  assert audit.main(["mine", f"--data_dir={root}"]) == 0
  assert "byte-identical twin in train" in capsys.readouterr().out
  assert "audit.png" in (folder / "audit.md").read_text()
  assert (folder / "audit.png").read_bytes()[:4] == b"\x89PNG"


def test_a_set_built_anew_has_no_old_audit(built, tmp_path):
  _, folder = built
  other = shutil.copytree(folder, tmp_path / "mine" / "1.0.0")
  tree = json.loads((other / "audit.json").read_text())
  tree["fingerprints"]["train"] = "another"
  (other / "audit.json").write_text(json.dumps(tree))
  assert store.read_audit(other) == {} != store.read_audit(folder)
  (other / "audit.json").write_text("{")
  with pytest.raises(UserError, match="data_builders.audit mine"):
    store.read_audit(other)


def test_a_set_that_is_not_there_is_one_sentence(tmp_path, capsys):
  assert audit.main(["mine", f"--data_dir={tmp_path}"]) == 2
  assert "no built set 'mine'" in capsys.readouterr().err
