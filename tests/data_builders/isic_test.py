"""The tables of labels: which rows count, and what is wrong with a table."""

import pytest

from data_builders import build
from medad_jax.data import spec
from medad_jax.types import UserError
from tests.data_builders import sources


@pytest.fixture
def source(tmp_path):
  return sources.isic(tmp_path / "source")


def table(source, part):
  stem = f"ISIC2018_Task3_{part}_GroundTruth"
  return source / stem / f"{stem}.csv"


def make(source):
  return build.build("isic", source=source, data_dir=source.parent)


def test_training_takes_nevi_and_the_test_part_is_sorted_by_class(source):
  make(source)
  data = spec.open_dataset(
    "isic", source.parent, image_size=16, channels=3, need=("train", "test")
  )
  numbers = {
    name: [int(image[6:12]) for image in split.names]
    for name, split in data.splits.items()
  }
  assert numbers["train"] == [0, 1, 3, 4, 5, 6, 7, 9]
  assert numbers["test"] == [1, 2, 4, 5, 0, 3, 6]
  assert data.splits["test"].names[0] == "ISIC_1000001.jpg"


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda text: text.replace("NV", "XX"), ["no column NV"]),
    (lambda text: text.replace("3,0.0,1.0", "3,0.0,.5"), ["0000003: .5"]),
    (lambda text: text.replace("3,0.0,1.0,0.0", "3"), ["0000003: None"]),
    (
      lambda text: text + "ISIC_1000002,0,1,0\nISIC_0000001,0,1,0\n",
      ["2 images more than once", "ISIC_1000002", "ISIC_0000001"],
    ),
    (lambda text: text.replace(",1.0,", ",0,"), ["no nevi in the Training"]),
    (lambda text: text.replace("0000009", "0000019"), ["0000019.jpg: missing"]),
  ],
)
def test_a_wrong_table(source, change, words):
  path = table(source, "Training")
  path.write_text(change(path.read_text()))
  with pytest.raises(UserError) as error:
    make(source)
  assert all(word in str(error.value) for word in words), error.value


def test_no_table(source):
  table(source, "Test").unlink()
  with pytest.raises(UserError, match=r"no .*Test_GroundTruth\.csv"):
    make(source)


def test_a_table_saved_by_a_spreadsheet(source):
  path = table(source, "Test")
  path.write_text(path.read_text(), encoding="utf-8-sig", newline="\r\n")
  make(source)
