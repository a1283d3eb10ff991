"""The three sets of MADDR: official lists, reconstructed test sets, volumes."""

import struct

import numpy as np
import pytest

from data_builders import build
from medad_jax.data import decode, nifti, spec
from medad_jax.types import UserError
from tests.data_builders import sources

SIDES = (20, 16, 6)


def lits(folder):
  """Volume 2 is trained on; of volume 7, slice 1 has a tumor, 2 no liver."""
  folder.mkdir()
  draw = np.random.RandomState(0)
  for number, ending in ((2, "nii"), (7, "nii.gz")):
    volume = draw.randint(-400, 400, SIDES).astype(np.int16)
    mask = np.ones(SIDES, np.uint8)
    mask[3:9, 2:5, 1] = 2
    mask[..., 2] = 0
    sources.nifti_file(folder / f"volume-{number}.{ending}", volume)
    sources.nifti_file(folder / f"segmentation-{number}.{ending}", mask)
  listed = ["volume-2_3.png 0", "volume-2_0.png 0", "CHNCXR_0001_0.png 2"]
  (folder / "train").write_text("\n".join(listed))
  return folder


def opened(name, source, tmp_path, size=16):
  build.build(name, source=source, data_dir=tmp_path / "data")
  return spec.open_dataset(
    name, tmp_path / "data", image_size=size, need=("train", "test")
  )


def test_covid_ct_reads_the_official_lists(tmp_path):
  source = sources.covid_ct(tmp_path / "source")
  test_list = source / "Data-split/COVID/testCT_COVID.txt"
  # The official list has a name twice.
  lines = test_list.read_text().splitlines()
  test_list.write_text("\n".join([*lines, lines[0], ""]))
  found = opened("covid_ct", source, tmp_path)
  assert found.counts == {
    "train": 5,
    "unlabelled_normal": 2,
    "unlabelled_abnormal": 3,
    "test": 7,
  }
  columns = found.splits["test"].columns
  assert set(columns["organ"]) == {"chest"}
  assert set(columns["modality"]) == {"CT"}


def test_covid_ct_reads_lists_in_json_too(tmp_path):
  source = sources.image_list(tmp_path / "source")
  assert opened("covid_ct", source, tmp_path).counts["train"] == 5


def test_a_name_in_two_lists_is_refused(tmp_path):
  source = sources.covid_ct(tmp_path / "source")
  lists = source / "Data-split/NonCOVID"
  (lists / "valCT_NonCOVID.txt").write_text(
    (lists / "testCT_NonCOVID.txt").read_text()
  )
  with pytest.raises(UserError, match="names are in two of the lists"):
    build.build("covid_ct", source=source, data_dir=tmp_path / "data")


def test_shenzhen_trains_on_the_list_and_tests_on_the_rest(tmp_path):
  found = opened("shenzhen", sources.shenzhen(tmp_path / "source"), tmp_path)
  listed = tuple(f"CHNCXR_{i:04}_0.png" for i in range(11, 3, -1))
  assert found.splits["train"].names == listed
  np.testing.assert_array_equal(found.splits["test"].labels, [0] * 4 + [1] * 3)


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    ("CHNCXR_0404_0.png 2", "names 1 images that are not in"),
    ("CHNCXR_0091_1.png 2", "1 of them with tuberculosis"),
  ],
)
def test_a_wrong_list_of_shenzhen_is_refused(line, reason, tmp_path):
  source = sources.shenzhen(tmp_path / "source")
  (source / "train").write_text(line)
  with pytest.raises(UserError, match=reason):
    build.build("shenzhen", source=source, data_dir=tmp_path / "data")


def test_a_missing_list_says_where_it_is(tmp_path):
  source = sources.shenzhen(tmp_path / "source")
  (source / "train").unlink()
  with pytest.raises(UserError, match="lianjizhe/MADDR_code"):
    build.build("shenzhen", source=source, data_dir=tmp_path / "data")


def test_lits_cuts_volumes_that_stay_apart(tmp_path):
  source = lits(tmp_path / "source")
  found = opened("lits", source, tmp_path)
  train, test = found.splits["train"], found.splits["test"]
  assert train.names == ("volume-2_3.png", "volume-2_0.png")
  assert test.names == tuple(f"volume-7_{z}.png" for z in (0, 3, 4, 5, 1))
  np.testing.assert_array_equal(test.labels, [0, 0, 0, 0, 1])
  np.testing.assert_array_equal(test.masks.any((1, 2)), test.labels == 1)
  assert set(test.columns["patient"]) == {"volume-7"}
  builder = build.find_builder("lits")(source=source, data_dir="/nowhere")
  (row,) = builder.find()["train"][:1]
  ((image, mask),) = builder.encode([row])
  volume = nifti.read(source / "volume-2.nii")[..., 3].T.astype(float)
  wanted = np.rint(255 * np.clip((volume + 200) / 450, 0, 1))
  with decode.open_image(image) as picture:
    np.testing.assert_array_equal(np.asarray(picture), wanted)
  with decode.open_image(mask) as picture:
    assert not np.asarray(picture).any()


def test_volumes_and_masks_of_other_shapes_are_named_at_once(tmp_path):
  source = lits(tmp_path / "source")
  (source / "segmentation-2.nii").unlink()
  sources.nifti_file(
    source / "segmentation-7.nii.gz", np.ones((4, 5, 6), np.uint8)
  )
  with pytest.raises(UserError) as error:
    build.build("lits", source=source, data_dir=tmp_path / "data")
  text = str(error.value)
  assert "2 of 2 volumes" in text and "no segmentation" in text
  assert "(20, 16, 6), and its segmentation is (4, 5, 6)" in text


@pytest.mark.parametrize("line", ["volume-9_0.png 0", "volume-2_6.png 0"])
def test_a_list_of_absent_slices_is_refused(line, tmp_path):
  source = lits(tmp_path / "source")
  (source / "train").write_text(line)
  with pytest.raises(UserError, match="names 1 slices of volumes"):
    build.build("lits", source=source, data_dir=tmp_path / "data")


def test_scaled_volumes_are_scaled(tmp_path):
  numbers = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
  sources.nifti_file(tmp_path / "a.nii", numbers, (0.5, -3.0))
  found = nifti.read(tmp_path / "a.nii")
  np.testing.assert_allclose(found, numbers * 0.5 - 3)


def damaged(case):
  data = bytearray(352 + 48)
  struct.pack_into("<i", data, 0, 348)
  struct.pack_into("<8h", data, 40, 3, 2, 3, 4, 1, 1, 1, 1)
  struct.pack_into("<h", data, 70, 4)
  struct.pack_into("<f", data, 108, 352.0)
  data[344:348] = b"n+1\0"
  if case == "cut":
    del data[390:]
  if case == "sides":
    struct.pack_into("<h", data, 42, -2)
  if case == "kind":
    struct.pack_into("<h", data, 70, 1234)
  if case == "start":
    struct.pack_into("<f", data, 108, float("nan"))
  if case == "magic":
    data[344:348] = b"abcd"
  return b"" if case == "empty" else bytes(data)


@pytest.mark.parametrize(
  "case", ["cut", "sides", "kind", "start", "magic", "empty"]
)
def test_damaged_volumes_are_one_sentence(case, tmp_path):
  (tmp_path / "a.nii").write_bytes(damaged(case))
  with pytest.raises(UserError, match="a NIfTI-1 volume"):
    nifti.read(tmp_path / "a.nii")
