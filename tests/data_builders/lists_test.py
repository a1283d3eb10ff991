"""Lists and tables of a source that are hostile, odd or damaged."""

import codecs
import json

import pytest

from data_builders import build
from medad_jax.data import spec
from medad_jax.types import UserError
from tests.data_builders import sources


def make(builder, source):
  return build.build(builder, source=source, data_dir=source.parent / "data")


def outside(tmp_path, kind):
  """The name of an image outside of a source's images/."""
  sources.image(99).save(tmp_path / "secret.png")
  return {
    "parent": "../../secret.png",
    "hidden parent": "a/../../../secret.png",
    "absolute": str(tmp_path / "secret.png"),
  }[kind]


@pytest.mark.parametrize("kind", ["parent", "hidden parent", "absolute"])
def test_a_list_that_names_files_outside(kind, tmp_path):
  source = sources.image_list(tmp_path / "source")
  (source / "images" / "a").mkdir()
  tree = json.loads((source / "data.json").read_text())
  name = outside(tmp_path, kind)
  tree["train"]["0"].append(name)
  (source / "data.json").write_text(json.dumps(tree))
  with pytest.raises(UserError, match="1 files outside of its folder") as error:
    make("rsna", source)
  assert f"  {name}" in str(error.value).splitlines()


@pytest.mark.parametrize("kind", ["parent", "hidden parent", "absolute"])
@pytest.mark.parametrize("part", ["Training", "Test"])
def test_a_table_that_names_files_outside(kind, part, tmp_path):
  source = sources.isic(tmp_path / "source")
  stem = f"ISIC2018_Task3_{part}_GroundTruth"
  table = source / stem / f"{stem}.csv"
  name = outside(tmp_path, kind).removesuffix(".png")
  table.write_text(table.read_text() + f"{name},0,1,0\n")
  with pytest.raises(UserError, match="1 files outside of its folder"):
    make("isic", source)


def test_names_with_dots_that_stay_inside(tmp_path):
  source = sources.image_list(tmp_path / "source")
  (source / "images" / "a..b").mkdir()
  (source / "images" / "03.png").rename(source / "images" / "a..b" / "..3.png")
  lists = source / "data.json"
  lists.write_text(lists.read_text().replace("03.png", "a..b/..3.png"))
  make("rsna", source)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_read(encoding, tmp_path):
  source = sources.image_list(tmp_path / "source")
  lists = source / "data.json"
  lists.write_text(lists.read_text(), encoding=encoding)
  make("rsna", source)


BROKEN = {
  "deep": b"[" * 100_000 + b"]" * 100_000,
  "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
  "long number": b"9" * 10_000,
  "no text": bytes(range(128, 256)),
  "two marks": codecs.BOM_UTF8 * 2 + b"{}",
  "empty": b"",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_json(kind, tmp_path):
  source = sources.image_list(tmp_path / "source")
  (source / "data.json").write_bytes(BROKEN[kind])
  with pytest.raises(UserError, match="is not JSON"):
    make("rsna", source)


@pytest.mark.parametrize(
  "tree",
  [
    [],
    1,
    None,
    "train",
    {"train": []},
    {"train": {"0": {}}},
    {"train": {"0": [1]}, "test": {"0": [None], "1": [[]]}},
  ],
  ids=str,
)
def test_json_of_another_shape(tree, tmp_path):
  source = sources.image_list(tmp_path / "source")
  (source / "data.json").write_text(json.dumps(tree))
  with pytest.raises(UserError, match="has no list of file names under"):
    make("rsna", source)


@pytest.mark.parametrize(
  "content",
  [
    "image,NV\n\u75e3,1\n".encode("gbk"),
    b"image,NV\n" + b"x" * 200_000 + b",1\n",
  ],
  ids=["GBK", "long field"],
)
def test_what_is_no_table(content, tmp_path):
  source = sources.isic(tmp_path / "source")
  stem = "ISIC2018_Task3_Training_GroundTruth"
  (source / stem / f"{stem}.csv").write_bytes(content)
  with pytest.raises(UserError, match="is not CSV"):
    make("isic", source)


@pytest.mark.parametrize(
  ("name", "hint"),
  [
    ("n_gbk", "medad_jax.build BUILDER --name=n_gbk --source=DIR"),
    ("rsna_resplit", "build BUILDER --name=rsna_resplit --source=DIR"),
    ("vin", "medad_jax.build vin --source=DIR"),
  ],
)
def test_the_hint_names_a_builder_that_there_is(name, hint, tmp_path):
  with pytest.raises(UserError) as error:
    spec.open_dataset(name, tmp_path, image_size=16)
  assert hint in str(error.value)
