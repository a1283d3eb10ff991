"""Camelyon16: from slides to sets, what goes wrong, and going on."""

import importlib.util
import shutil
import sys
import types

import numpy as np
from PIL import Image
import pytest

from data_builders import build
from data_builders.camelyon16 import patch_lists, source, stain, task, tasks
from data_builders.camelyon16.slide import Slide, SlideError
from medad_jax.data import columns, spec, workers
from medad_jax.types import UserError
from tests.data_builders import slides


@pytest.fixture
def folder(tmp_path):
  return slides.camelyon16(tmp_path / "source")


def make(folder, name=None, **options):
  return build.build(
    "camelyon16",
    source=folder,
    data_dir=folder.parent / "data",
    name=name,
    options=options,
  )


def opened(folder, name="camelyon16", size=12):
  return spec.open_dataset(
    name,
    folder.parent / "data",
    image_size=size,
    channels=3,
    need=("train", "unlabelled_abnormal", "test"),
  )


def failure(folder, **options) -> str:
  with pytest.raises(UserError) as error:
    make(folder, **options)
  return str(error.value)


@pytest.fixture
def worked(monkeypatch):
  """The names of slides in the order in which they were worked on."""
  names = []

  def work(one):
    names.append(one.name)
    return task.work(one)

  monkeypatch.setattr(tasks, "one", types.SimpleNamespace(work=work))
  return names


def test_patches_of_the_lists_have_the_stains_of_the_target(folder):
  make(folder, scale="x40")
  size = slides.SMALL.patch
  data = opened(folder, "camelyon16_x40", size)
  with Slide(folder / "training/normal/normal_056.tif") as slide:
    stains = stain.learn(stain.pixels_of(slide.region(480, 480, 96)))
  for split, names in (
    ("train", slides.LISTS.train),
    ("unlabelled_abnormal", slides.LISTS.few),
    ("test", [*slides.LISTS.normal, *slides.LISTS.abnormal]),
  ):
    found = data.splits[split]
    assert found.names == tuple(names)
    patches = patch_lists.parsed(names, "")
    for at, patch in enumerate(patches):
      [path] = folder.rglob(f"{patch.slide}.tif")
      with Slide(path) as slide:
        pixels = slide.region(patch.row, patch.column, size)
      np.testing.assert_array_equal(
        found.images[at], stain.normalized(pixels, stains)
      )
      assert found.columns["slide"][at] == patch.slide
      assert found.columns[columns.PATIENT][at] == patch.slide


def test_a_draw_is_that_of_its_seed(folder):
  for name, seed in (("one", 0), ("again", 0), ("other", 1)):
    make(folder, name, patches="sampled", seed=seed)
  one, again, other = (opened(folder, x) for x in ("one", "again", "other"))
  assert one.fingerprint == again.fingerprint != other.fingerprint
  assert one.counts == {"train": 8, "unlabelled_abnormal": 2, "test": 6}
  for split, found in one.splits.items():
    # All patches of four are drawn, in another order.
    assert sorted(found.names) == sorted(other.splits[split].names)
  found = patch_lists.parsed(one.splits["unlabelled_abnormal"].names, "")
  assert {(x.slide, x.column) for x in found} == {("tumor_001", 480)}


def test_lists_of_a_draw_cut_it_again(folder, tmp_path, worked):
  keep = tmp_path / "keep"
  make(folder, patches="sampled", seed=3, keep=keep)
  lists = keep / "sampled_3" / "lists"
  make(folder, "again", patches=lists)
  assert opened(folder, "again").fingerprint == opened(folder).fingerprint
  del worked[:]
  # The patches of the other scales are there.
  make(folder, patches="sampled", seed=3, keep=keep, scale="x20")
  assert not worked
  assert opened(folder, "camelyon16_x20", 24).counts == opened(folder).counts


def test_a_failed_slide_is_named_and_the_others_are_done(folder, worked):
  path = folder / "testing/images/test_001.tif"
  whole = path.read_bytes()
  path.write_bytes(whole[:2000])
  slides.write(folder / "training/tumor/tumor_001.tif", 2, tissue=None)
  first, *lines = failure(folder, patches="sampled").splitlines()
  assert first.startswith("2 of 5 slides cannot be used, and the others are")
  assert lines[0].startswith("  test_001: it cannot be read")
  assert lines[1] == "  tumor_001: it shows no tissue"
  assert len(worked) == 5
  del worked[:]
  path.write_bytes(whole)
  slides.write(folder / "training/tumor/tumor_001.tif", 2)
  make(folder, patches="sampled")
  assert worked == ["test_001", "tumor_001"]


def test_a_killed_build_goes_on_with_the_next_slide(folder, monkeypatch):
  make(folder, "whole")
  left = ["normal_002", "normal_056"]
  begun = []

  def work(one):
    if not left:
      # A process that is killed leaves a folder.
      (one.out / f".{one.name}.1").mkdir()
      raise KeyboardInterrupt
    assert one.name == left.pop(0)
    return task.work(one)

  monkeypatch.setattr(tasks, "one", types.SimpleNamespace(work=work))
  with pytest.raises(KeyboardInterrupt):
    make(folder)
  data = folder.parent / "data"
  assert list(data.rglob(".test_001.1"))
  resumed = types.SimpleNamespace(
    work=lambda one: begun.append(one.name) or task.work(one)
  )
  monkeypatch.setattr(tasks, "one", resumed)
  make(folder)
  assert begun == ["test_001", "test_002", "tumor_001"]
  assert opened(folder).fingerprint == opened(folder, "whole").fingerprint
  assert not (data / ".building").exists()


def test_processes_do_what_one_does(folder, monkeypatch):
  make(folder, "one")
  monkeypatch.setattr(tasks, "workers", workers)
  make(folder, "several")
  assert (
    opened(folder, "one").fingerprint == opened(folder, "several").fingerprint
  )


def test_a_process_that_ends_is_one_sentence(folder, monkeypatch):
  def end(*_):
    raise tasks.concurrent.futures.process.BrokenProcessPool
    yield

  monkeypatch.setattr(tasks, "workers", types.SimpleNamespace(run=end))
  assert "ended by the system" in failure(folder)


def absent_annotation(folder):
  (folder / "annotations" / "test_002.xml").unlink()


def empty_annotation(folder):
  slides.annotate(folder / "annotations" / "test_002.xml", ("Tumor", []))


def torn_annotation(folder):
  (folder / "annotations" / "test_002.xml").write_text("<ASAP_Annot")


def outside(folder):
  place = folder / "annotations" / "test_002.xml"
  slides.annotate(place, ("Tumor", [(2000, 5), (3000, 5), (3000, 90)]))


def no_reference(folder):
  (folder / "testing" / "reference.csv").unlink()


def half_a_reference(folder):
  (folder / "testing" / "reference.csv").write_text("test_001,Normal\n")


def no_level(folder):
  slides.write(folder / "testing/images/test_001.tif", 1, level=3)


def no_target(folder):
  (folder / "training/normal/normal_056.tif").unlink()


def blank_target(folder):
  slides.write(folder / "training/normal/normal_056.tif", 1, tissue=None)


def twice(folder):
  shutil.copy(
    folder / "testing/images/test_001.tif", folder / "training/Test_001.tif"
  )


def no_slides(folder):
  shutil.rmtree(folder / "training")
  shutil.rmtree(folder / "testing")


@pytest.mark.parametrize(
  "spoil, says",
  [
    (absent_annotation, "1 slides with tumors have no annotation"),
    (empty_annotation, "test_002: test_002.xml is no annotation with polygons"),
    (torn_annotation, "test_002: test_002.xml is no annotation with polygons"),
    (outside, "test_002: its polygon 'Annotation 0' lies outside"),
    (no_reference, "no reference.csv, which tells"),
    (half_a_reference, "does not tell the kinds of 1 test"),
    (no_level, "test_001: it has no level at 1/16 of its size"),
    (no_target, "all patches get the stains of normal_056, which is not in"),
    (blank_target, "no pixel is dark enough to show a stain"),
    (twice, "1 slides are in"),
    (no_slides, "there are no slides such as normal_001.tif"),
  ],
)
def test_a_bad_source_is_one_sentence(folder, spoil, says):
  spoil(folder)
  assert says in failure(folder, patches="sampled")


def written(tmp_path, change):
  """A folder of the small lists, of which one name was changed."""
  names = patch_lists.published()
  lists = {file: list(patches) for file, patches in names.items()}
  patch_lists.write(tmp_path / "lists", lists)
  path = tmp_path / "lists" / "normal/test.txt"
  path.write_text(change(path.read_text()))
  return tmp_path / "lists"


@pytest.mark.parametrize(
  "old, new, says",
  [
    ("test_001", "test_009", "4 patches of 1 slides that are not in"),
    ("x_480_y_480", "x_1032_y_480", "the 48 pixels at row 1032 and column 480"),
    ("x_480_y_480", "x_0_y_0", "no pixel is dark enough to show a stain in"),
    (".jpg", ".png", "4 lines of"),
  ],
)
def test_lists_that_name_no_patches_are_one_sentence(
  folder, tmp_path, old, new, says
):
  lists = written(tmp_path, lambda text: text.replace(old, new))
  assert says in failure(folder, patches=lists)


def test_options_that_do_not_fit_are_one_sentence(folder, tmp_path):
  assert "draws nothing" in failure(folder, seed=3)
  assert "neither published nor sampled" in failure(folder, patches="mine")
  (tmp_path / "lists").mkdir()
  says = failure(folder, patches=tmp_path / "lists")
  assert "normal/train.txt cannot be read (No such file" in says


def test_slides_that_no_list_names_are_told(folder, capsys):
  slides.write(folder / "normal_027.tif", 9)
  make(folder, patches="sampled")
  said = capsys.readouterr().err
  assert "1 slides are not read" in said
  assert "  normal_027\n" in said


def test_the_command_has_the_builders_flags(folder, capsys):
  flags = [f"--source={folder}", f"--data_dir={folder.parent / 'data'}"]
  flags += ["--patches=sampled", "--seed=1", "--scale=x20"]
  assert build.main(["camelyon16", *flags]) == 0
  assert "--config.data.name=camelyon16_x20" in capsys.readouterr().out
  with pytest.raises(SystemExit):
    build.main(["rsna", "--patches=sampled"])
  with pytest.raises(SystemExit):
    build.main(["camelyon16", "--help"])
  assert "--patches" in capsys.readouterr().out


def test_without_openslide_it_is_said_what_to_install(folder, monkeypatch):
  monkeypatch.setitem(sys.modules, "openslide", None)
  assert "pip install 'medad-jax[slides]'" in failure(folder)


def test_a_slide_that_was_not_scanned_is_white(tmp_path):
  path = slides.write(tmp_path / "a.tif", 0, tissue=None)
  with Slide(path) as slide:
    assert (slide.region(0, 0, 300) == 255).all()
    with pytest.raises(SlideError, match="are not inside"):
      slide.region(0, 1050, 7)


def test_no_slide_is_no_slide(tmp_path):
  (tmp_path / "a.tif").write_text("text")
  Image.new("L", (9, 9)).save(tmp_path / "b.tif")
  for name in ("a.tif", "b.tif", "absent.tif"):
    with pytest.raises(SlideError, match="it cannot be read"):
      Slide(tmp_path / name)


def test_published_lists_are_parsed_whole(monkeypatch):
  monkeypatch.undo()
  found = patch_lists.published()
  counts = {file: len(patches) for file, patches in found.items()}
  assert counts == {
    "normal/train": 7612,
    "normal/test": 4000,
    "anomaly/train": 2169,
    "anomaly/test": 817,
  }
  for file, kind in patch_lists.FILES.items():
    assert {(x.kind, x.size) for x in found[file]} == {(kind, 768)}
  assert not source.LEFT_OUT & patch_lists.by_slide(found).keys()


# Beam wants an older protobuf, in which TFDS asks for a field's label.
@pytest.mark.filterwarnings("ignore:label:DeprecationWarning")
def test_beam_does_the_same_tasks(folder):
  pytest.importorskip("apache_beam")
  make(folder, "here")
  options = "runner=DirectRunner,direct_num_workers=1"
  make(folder, "there", beam_pipeline_options=options)
  assert (
    opened(folder, "there").fingerprint == opened(folder, "here").fingerprint
  )
  path = folder / "testing/images/test_001.tif"
  path.write_bytes(path.read_bytes()[:2000])
  says = failure(folder, name="bad", beam_pipeline_options=options)
  assert "1 of 5 slides cannot be used" in says


def test_without_beam_it_is_said_what_to_install(folder, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  says = failure(folder, beam_pipeline_options="runner=DirectRunner")
  assert "pip install 'medad-jax[slides,beam]'" in says
