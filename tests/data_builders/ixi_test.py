"""IXI: subjects, splits, volumes and the lesions drawn into test slices."""

import struct

import numpy as np
from PIL import Image
import pytest

from data_builders import build, lesions
from medad_jax.data import columns, spec
from medad_jax.data.phantom import lesions as generated
from medad_jax.types import UserError
from tests.data_builders import sources


def make(source, **options):
  return build.build(
    "ixi", source=source, data_dir=source.parent / "data", **options
  )


def opened(source, *splits):
  data = spec.open_dataset(
    "ixi", source.parent / "data", image_size=80, need=splits
  )
  return [data.splits[name] for name in splits]


def test_lesions_change_their_masks_alone(tmp_path):
  source = sources.ixi(tmp_path / "source")
  make(source)
  test, drawn = opened(source, "test", "test_lesions")
  assert drawn.names == tuple(f"lesions/{name}" for name in test.names)
  assert drawn.columns[columns.PATIENT] == test.columns[columns.PATIENT]
  assert set(drawn.columns[columns.FINDING]) <= set(generated.KINDS)
  assert set(test.columns[columns.FINDING]) == {""}
  assert drawn.healthy is None
  for name, one, other in zip(
    test.names, range(4), drawn.columns[columns.FINDING], strict=True
  ):
    picture = np.asarray(Image.open(source / name))
    number = int(name[-7:-4])
    lesion, mask = lesions.add(picture, number)
    assert lesions.kind_of(number) == other
    np.testing.assert_array_equal(lesion[~mask], picture[~mask])
    assert (lesion != picture).sum() > 0.5 * mask.sum() > 5
    again, _ = lesions.add(picture, number)
    np.testing.assert_array_equal(again, lesion)
    assert drawn.masks[one].any()


def test_a_folder_of_all_is_divided_by_subject(tmp_path):
  """Whatever a subject's file is called, it is in the same split."""
  splits = []
  for style, name in enumerate(("IXI{:03}.png", "sub-IXI{:03}_ses-M00.png")):
    source = tmp_path / str(style) / "source"
    source.mkdir(parents=True)
    for number in range(2, 22):
      sources.head_slice(number).save(source / name.format(number))
    if style:
      sources.head_slice(99).save(source / "sub-IXI007_desc-Crop.png")
    make(source)
    found = opened(source, "train", "val", "test")
    splits.append([one.columns[columns.PATIENT] for one in found])
  assert splits[0] == splits[1]
  assert [len(part) for part in splits[0]] == [16, 2, 2]


def test_all_files_that_do_not_fit_are_named_at_once(tmp_path):
  source = sources.ixi(tmp_path / "source")
  sources.head_slice(1).save(source / "train" / "sub-IXI002_T1w.png")
  sources.head_slice(1).save(source / "val" / "brain.png")
  Image.new("L", (65, 80)).save(source / "test" / "IXI400.png")
  with pytest.raises(UserError) as error:
    make(source)
  first, *lines = str(error.value).splitlines()
  assert first.startswith("3 of ")
  assert sorted(lines) == [
    "  test/IXI400.png: no head in its slice, so that no lesion can be drawn",
    "  train/sub-IXI002_T1w.png: the same subject as train/normal/IXI002.png",
    "  val/brain.png: no IXI and three digits in its name",
  ]


def test_a_folder_without_subjects_is_one_sentence(tmp_path):
  (tmp_path / "source").mkdir()
  with pytest.raises(UserError, match="no images of subjects"):
    make(tmp_path / "source")


def test_volumes_are_cut_flipped_and_scaled(tmp_path):
  source = tmp_path / "source"
  source.mkdir()
  for number in range(2, 22):
    picture = np.asarray(sources.head_slice(number), np.int16)
    volume = np.zeros((65, 80, 96), np.int16)
    # The first axis runs to the right, the second to the front.
    volume[:, :, 95] = 7 * picture[::-1].T
    # One percent of the volume is slice 95; the percentile sees all of it.
    volume[:, :, :40] = 1000
    name = f"sub-IXI{number:03}_T1w.nii.gz"
    sources.nifti_file(source / name, volume)
  make(source)
  [train] = opened(source, "train")
  number = int(train.names[0][7:10])
  picture = 7 * np.asarray(sources.head_slice(number), np.float32)
  wanted = np.rint(255 * np.clip(picture / 1000, 0, 1)).astype(np.uint8)
  square = np.asarray(Image.fromarray(wanted).resize((80, 80), 2))
  np.testing.assert_array_equal(train.images[0, ..., 0], square)


def test_volumes_of_other_shapes_are_named_at_once(tmp_path):
  source = sources.ixi(tmp_path / "source")
  volumes = [source / "train" / f"IXI{n}.nii" for n in (500, 501)]
  for path, depth in zip(volumes, (96, 60), strict=True):
    sources.nifti_file(path, np.zeros((9, 9, depth), np.int16))
  header = bytearray(volumes[0].read_bytes())
  struct.pack_into("<5h", header, 40, 4, 9, 9, 96, 2)
  volumes[0].write_bytes(header)
  (source / "train" / "IXI502.nii").write_bytes(b"no volume")
  with pytest.raises(UserError) as error:
    make(source)
  first, *lines = str(error.value).splitlines()
  assert first.startswith("3 of ")
  assert any(
    "IXI500.nii: it is a series of 2 volumes, not one" in line for line in lines
  )
  assert any("IXI501.nii: 60 slices" in line for line in lines)
  assert any("IXI502.nii: it has no NIfTI-1 header" in line for line in lines)
