"""Damaged files of sets and caches: found, named, and made again."""

import json
import shutil

import pytest

from data_builders import build
from medad_jax.data import decode, spec, store
from medad_jax.types import UserError
from tests.data_builders import sources


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A set and its cache, which tests copy."""
  folder = tmp_path_factory.mktemp("whole")
  source = sources.image_list(folder / "source")
  build.build("rsna", source=source, data_dir=folder / "data")
  spec.open_dataset("rsna", folder / "data", image_size=16)
  return folder / "data"


@pytest.fixture
def data_dir(whole, tmp_path):
  return shutil.copytree(whole, tmp_path / "data")


def opened(data_dir):
  """Everything that is read of a set, as values that can be compared."""
  data = spec.open_dataset("rsna", data_dir, image_size=16)
  return {
    name: (split.names, split.labels.tolist(), split.images.tolist())
    for name, split in data.splits.items()
  }


NAMES = ["test.json", "train.json", "test.labels.npy", "train.images.npy"]


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_byte_of_the_cache_never_passes(name, data_dir, capsys):
  """Of the header and of the end, where names and values are."""
  expected = opened(data_dir)
  path = data_dir / "cache" / "rsna" / "16x1" / name
  content = path.read_bytes()
  places = [*range(0, 128, 3), *range(128, len(content), 97), len(content) - 1]
  for at in places:
    for change in (0x01, 0x80):
      changed = bytes([content[at] ^ change])
      path.write_bytes(content[:at] + changed + content[at + 1 :])
      capsys.readouterr()
      assert opened(data_dir) == expected, at
      # numpy's header has spaces that mean nothing.
      if path.read_bytes() == content:
        assert f"{path} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
  "content",
  [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"no array", b"[1]"],
)
@pytest.mark.parametrize("name", NAMES)
def test_other_content_of_the_cache_never_passes(content, name, data_dir):
  expected = opened(data_dir)
  (data_dir / "cache" / "rsna" / "16x1" / name).write_bytes(content)
  assert opened(data_dir) == expected


HEADERS = [
  "{'descr': '<i4', 'fortran_order': False, 'shape': (7,), }",  # sound
  "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }",
  "{'descr': '|O', 'fortran_order': False, 'shape': (7,), }",
  "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (7,), }",
  "{'descr': '<i4', 'fortran_order': False, 'shape': (-7,), }",
  "{'descr': '<i4', 'fortran_order': False, 'shape': (7777777777777777777,), }",
  "{'descr': '<i4', 'fortran_order': 3, 'shape': 7, }",
  "{'descr': 4, 'shape': (7,), }",
  "((((((((((",
  "__import__('os').getcwd()",
]


@pytest.mark.parametrize("header", HEADERS)
def test_any_header_of_an_array_in_the_cache(header, data_dir):
  expected = opened(data_dir)
  path = data_dir / "cache" / "rsna" / "16x1" / "test.labels.npy"
  text = header.ljust(117).encode() + b"\n"
  content = path.read_bytes()
  path.write_bytes(content[:8] + b"\x76\x00" + text + content[128:])
  assert opened(data_dir) == expected


def test_names_in_another_order_are_found(data_dir, capsys):
  expected = opened(data_dir)
  path = data_dir / "cache" / "rsna" / "16x1" / "test.json"
  entry = json.loads(path.read_text())
  entry["names"].reverse()
  path.write_text(json.dumps(entry))
  assert opened(data_dir) == expected
  assert f"{path} is damaged" in capsys.readouterr().err


def test_a_damaged_cache_without_its_set_is_one_sentence(data_dir):
  shutil.rmtree(data_dir / "rsna")
  path = data_dir / "cache" / "rsna" / "16x1" / "test.labels.npy"
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(UserError, match="lacks a sound 'test' split"):
    opened(data_dir)


def _edits(tree):
  """The description of a set with one thing in it changed."""
  for key in tree:
    for value in (None, 3, "x", [], {}, [{}], [3]):
      yield {**tree, key: value}
    yield {k: v for k, v in tree.items() if k != key}
  for lengths in ([], ["x"], ["-1"], ["1"], ["99999"]):
    splits = [{**split, "shardLengths": lengths} for split in tree["splits"]]
    yield {**tree, "splits": splits}


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_read_right_or_one_sentence(
  name, whole, tmp_path
):
  """Fields of no use may be anything."""
  expected = opened(whole)
  data = shutil.copytree(whole / "rsna", tmp_path / "data" / "rsna").parent
  path = store.find_built(data, "rsna") / name
  content = path.read_bytes()
  broken = [content[: len(content) // 2], b"", b"null", b"[]", b"\xff", b"{}"]
  broken += [b"[" * 100_000]
  if name == "dataset_info.json":
    tree = json.loads(content)
    broken += [json.dumps(edit).encode() for edit in _edits(tree)]
  refused = 0
  for other in broken:
    path.write_bytes(other)
    try:
      assert opened(data) == expected
    except UserError as error:
      refused += 1
      assert "--overwrite" in str(error)
    shutil.rmtree(data / "cache", ignore_errors=True)
  assert refused >= 5


def test_a_set_that_is_replaced_while_it_is_read(data_dir, monkeypatch):
  shutil.rmtree(data_dir / "cache")
  read = decode.read_split

  def replaced(folder, split, frame):
    found = read(folder, split, frame)
    facts = json.loads((folder / "metadata.json").read_text())
    facts["fingerprints"]["test"] = "another"
    (folder / "metadata.json").write_text(json.dumps(facts))
    return found

  monkeypatch.setattr(decode, "read_split", replaced)
  with pytest.raises(UserError, match="built anew while it was read"):
    opened(data_dir)
  assert not list(data_dir.glob("cache/*/*/*.json"))


def test_records_that_are_missing_are_found(data_dir):
  shutil.rmtree(data_dir / "cache")
  folder = store.find_built(data_dir, "rsna")
  (test,) = folder.glob("*-test.array_record*")
  (train,) = folder.glob("*-train.array_record*")
  test.write_bytes(train.read_bytes())
  with pytest.raises(UserError, match="--overwrite"):
    opened(data_dir)
