"""What every folder of data_builders promises."""

import json

import numpy as np
import pytest

from data_builders import build
from medad_jax.data import decode, spec, store
from medad_jax.types import UserError
from tests.data_builders import sources

BUILDERS = build.builder_names()


@pytest.fixture(params=BUILDERS)
def built(request, tmp_path):
  """(name, source, data_dir) of a finished set."""
  source = sources.make(request.param, tmp_path / "source")
  build.build(request.param, source=source, data_dir=tmp_path / "data")
  return request.param, source, tmp_path / "data"


def rows_of(name, source):
  builder = build.find_builder(name)
  made = builder(**({"source": source} if source else {}), data_dir="/nowhere")
  return made, made.find()


def test_splits_are_the_sources_lists_in_their_order(built):
  name, source, data_dir = built
  builder, rows = rows_of(name, source)
  counts = sources.counts(name)
  data = spec.open_dataset(name, data_dir, image_size=16, need=counts)
  assert data.counts == {k: sum(v) for k, v in counts.items()}
  for split, (normal, abnormal) in counts.items():
    found = data.splits[split]
    assert found.names == tuple(row.name for row in rows[split])
    np.testing.assert_array_equal(found.labels, [0] * normal + [1] * abnormal)
    encoded = builder.encode(rows[split])
    for i, (image, mask) in enumerate(encoded):
      np.testing.assert_array_equal(
        found.images[i], decode.Frame(16, 1).image(image)
      )
      assert (found.masks is None) == (mask is None)
      if mask is not None:
        np.testing.assert_array_equal(
          found.masks[i], decode.Frame(16, 1).mask(mask)
        )


def test_masks_mark_abnormal_images_only(built):
  name, _, data_dir = built
  test = spec.open_dataset(
    name, data_dir, image_size=16, need=("test",)
  ).splits["test"]
  if test.masks is not None:
    np.testing.assert_array_equal(test.masks.any((1, 2)), test.labels == 1)


def test_a_second_build_does_nothing_and_says_so(built, capsys):
  name, source, data_dir = built
  folder = store.find_built(data_dir, name)
  before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  capsys.readouterr()
  assert build.build(name, source=source, data_dir=data_dir) == folder
  assert "already built" in capsys.readouterr().out
  assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_a_build_leaves_the_set_alone(built):
  name, _, data_dir = built
  assert [path.name for path in data_dir.iterdir()] == [name]


def test_building_again_gives_the_same_fingerprint(built):
  name, source, data_dir = built
  test = ("test",)
  before = spec.open_dataset(name, data_dir, image_size=16, need=test)
  build.build(name, source=source, data_dir=data_dir, overwrite=True)
  after = spec.open_dataset(name, data_dir, image_size=16, need=test)
  assert after.fingerprint == before.fingerprint
  other = spec.open_dataset(name, data_dir, image_size=32, need=test)
  assert other.fingerprint != before.fingerprint


# Generated images, arrays, and slices and patches of files are no files.
_NO_FILES = {"camelyon16", "lits", "phantom"} | sources.PACKED


@pytest.mark.parametrize("name", [b for b in BUILDERS if b not in _NO_FILES])
def test_all_bad_files_are_named_at_once_and_nothing_is_left(name, tmp_path):
  source = sources.make(name, tmp_path / "source")
  _, rows = rows_of(name, source)
  files = [row.path for split in rows.values() for row in split]
  missing, cut, flipped, text, empty = files[1:14:3]
  # A builder that looks into folders never hears of a missing file.
  listed = name in sources.LISTED
  if listed:
    missing.unlink()
  cut.write_bytes(cut.read_bytes()[:-200])
  flipped.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(400))
  text.write_text("no image")
  empty.write_bytes(b"")
  bad = {cut: "truncated", flipped: "", text: "not an image", empty: "empty"}
  if listed:
    bad[missing] = "missing"
  with pytest.raises(UserError) as error:
    build.build(name, source=source, data_dir=tmp_path / "data")
  first, *lines = str(error.value).splitlines()
  assert f"{len(bad)} of" in first
  assert len(lines) == len(bad)
  for path, reason in bad.items():
    [line] = [x for x in lines if str(path.relative_to(source)) in x]
    assert reason in line
  assert not (tmp_path / "data" / name).exists()
  assert not list((tmp_path / "data").rglob("*array_record*"))


def test_every_builder_has_a_source_here():
  assert sorted(sources._MAKERS) == BUILDERS, "add one to sources.py"


def test_published_counts_are_those_of_the_papers_lists():
  total = {"rsna": 14863, "vin": 15000, "brain": 3200, "lag": 4854}
  # MedIAnomaly's, which has no unlabelled images.
  total |= {"isic": 8217, "c16": 7321, "brats": 6987}
  for name, count in total.items():
    assert sum(build.find_builder(name).PUBLISHED.values()) == count


def test_metadata_is_readable_by_json_alone(tmp_path):
  source = sources.make("rsna", tmp_path / "source")
  folder = build.build("rsna", source=source, data_dir=tmp_path)
  facts = json.loads((folder / "metadata.json").read_text())
  assert facts["counts"]["test"] == 7
  assert facts["published"]["test"] == 2000
  assert facts["source"] == source.name
