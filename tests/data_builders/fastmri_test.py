"""fastMRI: RA's folders and lists, and raw files with annotations."""

from collections import Counter

import numpy as np
from PIL import Image
import pytest

from data_builders import build, fastmri_lists, fastmri_plus
from medad_jax.data import columns, spec
from medad_jax.types import UserError
from tests.data_builders import sources


@pytest.fixture
def source(tmp_path):
  return sources.fastmri(tmp_path / "source")


def make(source):
  return build.build("fastmri", source=source, data_dir=source.parent / "data")


def opened(source):
  """All splits at a size that keeps the pixels of 24 x 30."""
  names = ("train", "val", *sources.FURTHER["fastmri"])
  return spec.open_dataset(
    "fastmri", source.parent / "data", image_size=30, need=names
  ).splits


def problems(source):
  with pytest.raises(UserError) as error:
    make(source)
  first, *lines = str(error.value).splitlines()
  return first, [line.strip() for line in lines]


def test_every_box_is_a_row_with_its_class_and_healthy_pixels(source, capsys):
  make(source)
  assert "lines of IXI, left to the set ixi: 1" in capsys.readouterr().err
  splits = opened(source)
  local = splits["test_local"]
  kinds = local.columns[columns.FINDING]
  assert list(kinds) == [
    "absent_septum",
    *fastmri_lists.CLASSES,
  ]
  assert local.names[0] == local.names[1] != local.names[2]
  assert local.columns[columns.PATIENT][0].startswith("file_brain_AXT1")
  rows = np.flatnonzero(local.masks[0].any(1))
  assert (rows.min(), rows.max()) == (5, 11)
  assert local.masks[1].any(1)[14:21].all()
  assert not (local.masks & local.healthy).any()
  assert local.healthy[0].mean() > 0.4
  for name, one in splits.items():
    if name != "test_local":
      assert not one.masks.any()
      assert not one.healthy.any()
      assert set(one.columns[columns.FINDING]) == {""}


def test_no_split_but_the_main_test_set_has_normal_images(source):
  make(source)
  labels = {name: set(one.labels) for name, one in opened(source).items()}
  assert labels == {
    name: {int(abnormal > 0)}
    for name, (_, abnormal) in sources.FURTHER["fastmri"].items()
  }


def test_all_absent_files_and_other_sizes_are_named_at_once(source):
  images, boxes, healthy = (
    source / name
    for name in (
      fastmri_lists.IMAGES,
      fastmri_lists.BOXES,
      fastmri_lists.HEALTHY,
    )
  )
  gone = sorted(images.iterdir())[0]
  gone.unlink()
  box = sorted(boxes.iterdir())[-1]
  Image.new("L", (99, 30)).save(box)
  head = sorted(healthy.iterdir())[-2]
  Image.new("L", (24, 3), 255).save(head)
  first, lines = problems(source)
  assert first.startswith("3 of ")
  assert sorted(lines) == sorted(
    [
      f"{fastmri_lists.IMAGES}/{gone.name}: missing",
      f"{fastmri_lists.BOXES}/{box.name}: its size is 99x30, its image's 24x30"
      " pixels",
      f"{fastmri_lists.HEALTHY}/{head.name}: its size is 24x3, its image's"
      " 24x30 pixels",
    ]
  )


def test_an_empty_mask_is_a_box_that_is_never_found(source, capsys):
  box = sorted((source / fastmri_lists.BOXES).iterdir())[0]
  Image.new("L", (24, 30)).save(box)
  make(source)
  assert "mark nothing" in capsys.readouterr().err
  assert len(opened(source)["test_local"]) == 15


def test_healthy_masks_may_be_gray_at_their_edges(source):
  for path in (source / fastmri_lists.HEALTHY).iterdir():
    marks = np.asarray(Image.open(path)).copy()
    marks[2] = 100
    marks[3, 3:21] = 130
    Image.fromarray(marks).save(path)
  make(source)
  healthy = opened(source)["test_local"].healthy
  assert not healthy[:, 2].any()
  assert healthy[:, 3].any()


def test_missing_lists_are_named_at_once(source):
  folder = source / fastmri_lists.LISTS
  (folder / "wml_neg.csv").unlink()
  (folder / "normal_val.csv").unlink()
  first, lines = problems(source)
  assert first.startswith("2 of 47 lists are missing")
  assert lines == ["normal_val.csv", "wml_neg.csv"]


def test_empty_classes_are_named_at_once(source):
  for ending in ("", "_ann", "_neg"):
    for name in ("edema", "sinus"):
      sources.csv_list(source, name + ending, [])
  first, lines = problems(source)
  assert "6 lists" in first
  assert "name no image" in first
  assert "sinus_ann.csv" in lines


def test_lists_that_do_not_belong_together_are_named_at_once(source):
  folder = source / fastmri_lists.LISTS
  swapped = (folder / "edema_ann.csv").read_text()
  (folder / "dural_ann.csv").write_text(swapped)
  sources.csv_list(source, "normal_val", ["other/file_1.png"])
  first, lines = problems(source)
  assert first.startswith("2 lines")
  assert lines[0] == "normal_val.csv: other/file_1.png is not in brain_mid_png"
  assert lines[1].startswith("dural_ann.csv: brain_mid_anno_pos_png/file_brain")
  with (folder / "wml.csv").open("a") as file:
    file.write("x/brain_mid_png/more.png\n")
  first, lines = problems(source)
  assert "different numbers of lines" in first
  assert lines == ["wml: 2, 1, 1"]


def test_a_folder_of_neither_source_is_one_sentence(tmp_path):
  (tmp_path / "source").mkdir()
  with pytest.raises(UserError, match="neither brain_mid_png nor"):
    make(tmp_path / "source")


@pytest.mark.parametrize(
  "labels, slice_",
  [
    (Counter({"edema": 2}), 6),  # the only slice with these boxes
    (Counter({"edema": 1}), 2),  # the nearer of two, the lower of a tie
    (None, 2),
    (Counter({"edema": 9}), 2),
  ],
)
def test_the_slice_with_the_wanted_boxes_near_slice_three(labels, slice_):
  places = (0, 2, 4, 6, 6)
  boxes = [fastmri_plus.Box(n, 1, 1, 2, 2, "Edema") for n in places]
  boxes.append(fastmri_plus.Box(3, 1, 1, 2, 2, "Fracture"))  # of no class
  assert fastmri_plus.choose(boxes, labels) == slice_
  assert fastmri_plus.choose([], None) == 3


def test_labels_have_the_classes_of_the_lists():
  assert fastmri_plus.class_of("Extra-axial mass") == "mass_all"
  assert fastmri_plus.class_of(" posttreatment CHANGE ") == "posttreatment"
  assert fastmri_plus.class_of("Fracture") is None
  labels = [label for of in fastmri_lists.CLASSES.values() for label in of]
  assert len(labels) == len(set(labels)) == 16


def raw(folder, lists=False):
  """Raw files and annotations: normal subjects and one of every other kind."""
  h5py = pytest.importorskip("h5py")
  folder.mkdir()
  lines = ["file,slice,study_level,x,y,width,height,label"]
  rng = np.random.RandomState(0)

  def add(number, *entries):
    name = f"file_brain_AXT1_202_{number:07}"
    stack = rng.uniform(0, 1e-4, (8, 24, 20)).astype(np.float32)
    stack[:, 2:22, 2:18] += 1e-3
    stack[:, 4:6, 4:6] = 0  # a corner that is told from the others
    with h5py.File(folder / f"{name}.h5", "w") as file:
      file["reconstruction_rss"] = stack
    lines.extend(f"{name},{entry}" for entry in entries)
    return name

  for number in range(12):
    add(number, ",Yes,,,,,Normal for age")
  add(20, ",Yes,,,,,Small vessel chronic white matter ischemic change")
  add(21, ",Yes,,,,,Motion artifact")
  add(22, "3,No,4,5,6,7,Edema", "3,No,8,9,5,5,Mass", "6,No,1,1,2,2,Edema")
  add(23, "2,No,3,3,4,4,Possible artifact")
  lines.append("file_brain_AXT2_200_1,0,No,1,1,2,2,Edema")  # another series
  (folder / "brain.csv").write_text("\n".join(lines))
  return folder


def test_raw_files_become_slices_boxes_and_heads(tmp_path):
  source = raw(tmp_path / "source")
  make(source)
  splits = opened_raw(source)
  sizes = {name: len(one) for name, one in splits.items()}
  assert sizes == {
    **{"train": 9, "val": 1, "test": 2},
    **{"test_pathology": 1, "test_artifact": 2, "test_local": 3},
  }
  local = splits["test_local"]
  assert local.columns[columns.FINDING] == ("edema", "mass_all", "artefacts")
  # Slices are turned upside down, and boxes drawn after that.
  image = local.images[0, ..., 0]
  assert image[18:20, 4:6].max() == 0 < image[4:6, 4:6].min()
  box = local.masks[0]
  assert box.sum() == 6 * 7
  assert box[5:12, 4:10].all()
  # All boxes of the slice are left out of its head.
  assert not (local.healthy[0] & (local.masks[0] | local.masks[1])).any()
  assert local.healthy[0][3, 3]
  assert not local.healthy[0][0, 0]


def opened_raw(source):
  data_dir = source.parent / "data"
  names = tuple(sources.FURTHER["fastmri"])
  steps = spec.open_dataset("fastmri", data_dir, image_size=24, need=names)
  # The width of 20 is stretched to 24: every sixth column is a copy.
  kept = np.flatnonzero(np.diff(np.arange(24) * 20 // 24, prepend=-1))
  return {
    name: spec.Split(
      one.images[:, :, kept],
      one.labels,
      one.names,
      one.masks[:, :, kept],
      one.columns,
      one.healthy[:, :, kept],
    )
    for name, one in steps.splits.items()
  }


def test_raw_files_that_cannot_be_used_are_named_at_once(tmp_path):
  h5py = pytest.importorskip("h5py")
  source = raw(tmp_path / "source")
  names = sorted(path.name for path in source.glob("*.h5"))
  with h5py.File(source / names[0], "w") as file:
    file["kspace"] = np.zeros(3)
  (source / names[1]).write_bytes(b"no file")
  (source / names[2]).unlink()
  with h5py.File(source / names[3], "w") as file:
    file["reconstruction_rss"] = np.zeros((2, 24, 20))
  table = source / "brain.csv"
  table.write_text(table.read_text().replace("8,9,5,5,Mass", "18,9,5,5,Mass"))
  first, lines = problems(source)
  assert first.startswith("5 files cannot")
  reasons = dict(line.split(": ", 1) for line in lines)
  assert reasons[names[0]] == "no 'reconstruction_rss' in it, but kspace"
  assert reasons[names[1]].startswith("not an HDF5 file")
  assert reasons[names[2]] == "missing"
  assert reasons[names[3]] == "2 slices, without slice 3"
  last = "file_brain_AXT1_202_0000022.h5"
  assert reasons[last] == (
    "boxes outside of 20x24 pixels, or without a pixel: Mass 18,9,5,5"
  )


def test_annotations_without_numbers_are_named_at_once(tmp_path):
  source = raw(tmp_path / "source")
  table = source / "brain.csv"
  text = table.read_text().replace("3,No,4,", "three,No,4,")
  table.write_text(text.replace("2,No,3,", "2,No,,"))
  first, lines = problems(source)
  assert first.startswith("2 lines")
  assert lines[0].endswith("file_brain_AXT1_202_0000022, Edema")


def test_lists_say_which_raw_files_are_what(tmp_path):
  """Subjects and the labels of the wanted slice come from RA's lists."""
  source = raw(tmp_path / "source")
  names = [path.stem for path in sorted(source.glob("*.h5"))]
  (source / fastmri_lists.LISTS).mkdir()
  parts = {"train": names[:2], "val": names[2:3], "test": names[3:5]}
  parts |= {"test_pathology": [names[12]], "test_artifact": [names[13]]}
  for split, (name, _) in fastmri_lists.SLICES.items():
    lines = [f"{fastmri_lists.IMAGES}/{stem}.png" for stem in parts[split]]
    sources.csv_list(source, name, lines)
  for name, labels in fastmri_lists.CLASSES.items():
    stem = names[14]
    for ending, line in {
      "": f"{fastmri_lists.IMAGES}/{stem}.png",
      "_ann": f"{fastmri_lists.BOXES}/{stem}_{labels[0]}_0.png",
      "_neg": f"{fastmri_lists.HEALTHY}/{stem}.png",
    }.items():
      sources.csv_list(source, name + ending, [line])
  make(source)
  splits = opened_raw(source)
  assert len(splits["train"]) == 2
  # No slice has all these labels: the nearest with a box, and its own boxes.
  assert splits["test_local"].columns[columns.FINDING] == ("edema", "mass_all")
