"""What is known of images beside the label: from the source to the split."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import build
from medad_jax.data import cache, spec, store
from medad_jax.types import UserError
from tests.data_builders import sources


def opened(data_dir, name, split="test"):
  data = spec.open_dataset(name, data_dir, image_size=16, need=(split,))
  return data.splits[split]


TABLE = """\
name,patient,organ,age
test/normal/0.png,p1,liver,61
test/normal/1.png,p1,liver,
test/abnormal/2.png,"Müller, A.",lung,7
"""


def make(tmp_path, table, encoding="utf-8"):
  source = sources.class_folders(tmp_path / "source")
  (source / "columns.csv").write_text(table, encoding)
  return build.build(
    "folder", source=source, data_dir=tmp_path / "data", name="mine"
  )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_of_the_source_reaches_the_split(encoding, tmp_path):
  folder = make(tmp_path, TABLE, encoding)
  expected = {
    "patient": ("p1", "p1", "", "", "", "", "Müller, A."),
    "organ": ("liver", "liver", "", "", "", "", "lung"),
    "age": ("61", "", "", "", "", "", "7"),
  }
  for _ in range(2):  # decoded, then from the cache
    assert opened(tmp_path / "data", "mine").columns == expected
  empty = dict.fromkeys(expected, ("",) * 5)
  assert opened(tmp_path / "data", "mine", "train").columns == empty
  # TFDS alone reads the same.
  found = {
    int(row["id"]): {k: v.decode() for k, v in row["columns"].items()}
    for row in tfds.builder_from_directory(folder).as_data_source("test")
  }
  for name, texts in expected.items():
    assert tuple(found[row][name] for row in range(7)) == texts


@pytest.mark.parametrize(
  "table, message",
  [
    ("file,patient\na,b\n", "must have a column 'name'"),
    ("name,organ,organ\n", "each once"),
    ("name,Organ\n", "columns named 'Organ'; use lower-case"),
    ("name,label,set\n", "columns named 'label', 'set'; use lower-case"),
    ("name,organ\ntest/normal/9.png,a\n", "9.png: no such image"),
    ("name,organ\ntest/normal/0.png\n", "another number of values"),
    ("name,organ\ntest/normal/0.png,a,b\n", "another number of values"),
    (
      "name,organ\ntest/normal/0.png,a\ntest/normal/0.png,a\n",
      "0.png: more than one line",
    ),
    ('name,organ\n"test', "is not CSV"),
  ],
)
def test_a_wrong_table_is_refused_before_anything_is_written(
  table, message, tmp_path
):
  with pytest.raises(UserError, match=message):
    make(tmp_path, table)
  assert store.built_names(tmp_path / "data") == []


def test_columns_are_part_of_the_fingerprint(tmp_path):
  found = set()
  for at, table in enumerate([TABLE, TABLE.replace("p1", "p2"), "name\n"]):
    folder = make(tmp_path / str(at), table)
    found.add(json.dumps(store.read_facts(folder)["fingerprints"]))
  assert len(found) == 3


CONSTANTS = [
  name
  for name in build.builder_names()
  if name != "folder" and name not in sources.PACKED
]


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_benchmark_says_organ_and_modality(name, tmp_path):
  source = sources.make(name, tmp_path / "source")
  build.build(name, source=source, data_dir=tmp_path)
  columns = opened(tmp_path, name).columns
  constants = build.find_builder(name).COLUMNS
  assert constants.keys() == {"organ", "modality"}
  for column, text in constants.items():
    assert set(columns[column]) == {text}


@pytest.mark.parametrize(
  "builder, stem, patients",
  [
    ("brats", "BraTS2021_{:05}_flair_70", ["brats202100000", "brats202100001"]),
    ("oct", "NORMAL-{}-1", ["normal0", "normal1"]),
  ],
)
def test_patients_come_from_names_that_state_them(
  builder, stem, patients, tmp_path
):
  source = sources.make(builder, tmp_path / "source")
  made = build.find_builder(builder)(source=source, data_dir="/nowhere")
  found = [
    made.columns_of(f"train/{stem.format(i)}.png")["patient"] for i in range(2)
  ]
  assert found == patients


@pytest.mark.parametrize(
  "name, expected",
  [
    ("test/normal/patient12/3.png", {"patient": "patient12"}),
    # A number says no more than that there are numbers.
    ("test/normal/study2021_1.png", {}),
    ("test/normal/0.png", {}),
  ],
)
def test_no_patient_is_invented(name, expected, tmp_path):
  sources.class_folders(tmp_path / "source")
  made = build.find_builder("folder")(
    source=tmp_path / "source", data_dir="/nowhere"
  )
  assert made.columns_of(name) == expected


def test_caches_of_before_columns_are_read(tmp_path):
  """The entry of a split without the key that columns brought."""
  source = sources.class_folders(tmp_path / "source")
  build.build("folder", source=source, data_dir=tmp_path, name="mine")
  split = opened(tmp_path, "mine")
  assert split.columns == {}
  (path,) = (tmp_path / "cache" / "mine").rglob("test.json")
  entry = json.loads(path.read_text())
  del entry["columns"], entry["sum"]
  path.write_text(json.dumps(entry | {"sum": cache._sum(entry)}))
  stamp = path.stat().st_mtime_ns
  again = opened(tmp_path, "mine")
  assert path.stat().st_mtime_ns == stamp  # and not made anew
  np.testing.assert_array_equal(again.images, split.images)
  assert again.columns == {}


def test_further_test_sets_of_a_folder_are_splits(tmp_path):
  source = sources.class_folders(tmp_path / "source")
  shutil.rmtree(source / "test/masks")
  for at, place in enumerate(["normal", "normal", "abnormal"]):
    folder = source / "test_far" / place
    folder.mkdir(parents=True, exist_ok=True)
    sources.image(900 + at).save(folder / f"{at}.png")
  build.build("folder", source=source, data_dir=tmp_path, name="mine")
  data = spec.open_dataset(
    "mine", tmp_path, image_size=16, need=("test",), further_tests=True
  )
  assert list(data.splits) == ["test", "test_far"]
  assert data.splits["test_far"].labels.tolist() == [0, 0, 1]
  only = spec.open_dataset("mine", tmp_path, image_size=16, need=("test",))
  assert list(only.splits) == ["test"]
  assert only.fingerprint == data.fingerprint


@pytest.mark.parametrize(
  "name, message",
  [("test_Far", "test_Far of .* cannot name"), ("test_far", "has test/masks")],
)
def test_further_test_sets_that_cannot_be(name, message, tmp_path):
  source = sources.class_folders(tmp_path / "source")
  (source / name / "normal").mkdir(parents=True)
  with pytest.raises(UserError, match=message):
    build.build("folder", source=source, data_dir=tmp_path / "data")
