"""The build command: names, options, errors, interruption."""

import json
import os
from pathlib import Path
import subprocess
import sys

from PIL import Image
import pytest
import tensorflow_datasets as tfds

from data_builders import build, verify
from medad_jax.data import spec, store
from medad_jax.types import UserError
from tests.data_builders import sources


def run(*args):
  return build.main([str(arg) for arg in args])


def test_counts_stand_beside_the_published_ones(tmp_path, capsys):
  source = sources.image_list(tmp_path / "source")
  assert run("rsna", f"--source={source}", f"--data_dir={tmp_path}") == 0
  out = capsys.readouterr().out
  assert "3851" in out
  assert "Warning" in out
  assert "--config.data.name=rsna" in out


def test_another_split_file_is_another_set(tmp_path):
  source = sources.image_list(tmp_path / "source")
  tree = json.loads((source / "data.json").read_text())
  tree["test"]["0"].reverse()
  (source / "data_resplit.json").write_text(json.dumps(tree))
  flags = (f"--source={source}", f"--data_dir={tmp_path}")
  assert run("rsna", *flags) == 0
  assert run("rsna", *flags, "--split_file=data_resplit.json") == 0
  assert run("rsna", *flags, "--name=mine") == 0
  opened = {
    name: spec.open_dataset(name, tmp_path, image_size=16)
    for name in ("rsna", "rsna_resplit", "mine")
  }
  first = opened["rsna"].splits["test"].names
  assert opened["rsna_resplit"].splits["test"].names[:4] == first[3::-1]
  assert opened["mine"].fingerprint == opened["rsna"].fingerprint


@pytest.mark.parametrize("key", [{}, {"unlabeled": {"0": [], "1": []}}])
def test_medianomalys_lists_have_no_unlabelled_images(key, tmp_path, capsys):
  source = sources.image_list(tmp_path / "source")
  tree = json.loads((source / "data.json").read_text())
  tree["train"] = {"0": tree["train"]["0"]} | key
  (source / "data.json").write_text(json.dumps(tree))
  assert run("lag", f"--source={source}", f"--data_dir={tmp_path}") == 0
  assert "config.data.extra must be 0" in capsys.readouterr().out
  data = spec.open_dataset(
    "lag", tmp_path, image_size=16, need=("train", "test")
  )
  assert data.counts == {"train": 5, "test": 7}
  with pytest.raises(UserError, match="no images in unlabelled_abnormal; it"):
    spec.open_dataset(
      "lag", tmp_path, image_size=16, need=("train", "unlabelled_abnormal")
    )


def test_only_splits_that_are_there_are_compared(tmp_path, monkeypatch, capsys):
  source = sources.make("brats", tmp_path / "source")
  kind = build.find_builder("brats")
  args = ("brats", f"--source={source}", f"--data_dir={tmp_path}")
  assert run(*args) == 0
  assert "Warning" in capsys.readouterr().out
  monkeypatch.setattr(kind, "PUBLISHED", {"train": 8, "test": 7})
  assert run(*args, "--overwrite") == 0
  assert "Warning" not in capsys.readouterr().out
  monkeypatch.setattr(
    kind, "PUBLISHED", {"train": 8, "test": 7, "unlabelled_normal": 9}
  )
  assert run(*args, "--overwrite") == 0
  assert "Warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
  ("args", "words"),
  [
    (("nothing",), ["no builder 'nothing'", "phantom"]),
    (("rsna",), ["--source=DIR", "data.json"]),
    (("rsna", "--source=/nowhere"), ["/nowhere", "not a folder"]),
    (("phantom", "--source=/tmp"), ["leave --source out"]),
    (("rsna", "--source=/tmp", "--name=No-Name"), ["No-Name", "lower-case"]),
    (("rsna", "--source=/tmp", "--name=cache"), ["taken"]),
  ],
)
def test_a_users_mistake_is_one_sentence(args, words, tmp_path, capsys):
  assert run(*args, f"--data_dir={tmp_path}") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert all(word in error for word in words), error
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda tree: tree["test"].pop("1"), ["test.1", "no list"]),
    (
      lambda tree: tree["train"]["unlabeled"].pop("1"),
      ["unlabeled.1;", "no list"],
    ),
    (lambda tree: tree["train"].update({"0": []}), ["train.0", "no images"]),
    (
      lambda tree: tree["test"]["0"].append(tree["train"]["0"][0]),
      ["more than once", "16.png"],
    ),
  ],
)
def test_a_wrong_data_json(change, words, tmp_path):
  source = sources.image_list(tmp_path / "source")
  tree = json.loads((source / "data.json").read_text())
  change(tree)
  (source / "data.json").write_text(json.dumps(tree))
  with pytest.raises(UserError) as error:
    build.build("rsna", source=source, data_dir=tmp_path / "data")
  assert all(word in str(error.value) for word in words)


def test_no_data_json_and_no_json(tmp_path):
  source = sources.image_list(tmp_path / "source")
  (source / "data.json").write_text("{")
  with pytest.raises(UserError, match="not JSON"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")
  (source / "data.json").unlink()
  with pytest.raises(UserError, match=r"no data\.json"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")


def test_more_than_8_bits_are_refused(tmp_path):
  source = sources.image_list(tmp_path / "source")
  Image.new("I;16", (8, 8), 999).save(source / "images" / "03.png")
  with pytest.raises(UserError, match=r"03\.png: more than 8 bits"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")


def test_after_bad_files_only_those_are_verified_again(tmp_path, monkeypatch):
  source = sources.image_list(tmp_path / "source")
  good = (source / "images" / "03.png").read_bytes()
  (source / "images" / "03.png").write_bytes(good[:-30])
  with pytest.raises(UserError):
    build.build("rsna", source=source, data_dir=tmp_path / "data")
  (source / "images" / "03.png").write_bytes(good)
  looked = []
  inspect = verify.inspect
  monkeypatch.setattr(
    verify,
    "inspect",
    lambda path, mask: looked.append(path.name) or inspect(path, mask),
  )
  build.build("rsna", source=source, data_dir=tmp_path / "data")
  assert looked == ["03.png"]
  assert [path.name for path in (tmp_path / "data").iterdir()] == ["rsna"]


# Kills itself when the second split is about to be written.
KILLED = """
import os, signal, sys
from data_builders import base, build
examples = base.SetBuilder._generate_examples
def generate(self, split, rows):
  yield from examples(self, split, rows)
  os.kill(os.getpid(), signal.SIGKILL)
base.SetBuilder._generate_examples = generate
build.build("rsna", source=sys.argv[1], data_dir=sys.argv[2])
"""


def test_a_killed_build_is_no_set_and_the_next_one_cleans_up(
  tmp_path, monkeypatch
):
  source, data = sources.image_list(tmp_path / "source"), tmp_path / "data"
  done = subprocess.run(
    [sys.executable, "-c", KILLED, source, data],
    env={"PYTHONPATH": ":".join(sys.path)},
    stderr=subprocess.DEVNULL,
  )
  assert done.returncode == -9
  assert store.find_built(data, "rsna") is None
  assert list(data.rglob("*incomplete*"))
  looked = []
  monkeypatch.setattr(verify, "inspect", lambda path, _: looked.append(path))
  build.build("rsna", source=source, data_dir=data)
  assert not looked  # all files were verified before the kill
  assert [path.name for path in data.iterdir()] == ["rsna"]


def test_overwriting_replaces_only_when_it_succeeds(tmp_path):
  source = sources.image_list(tmp_path / "source")
  build.build("rsna", source=source, data_dir=tmp_path)
  before = spec.open_dataset("rsna", tmp_path, image_size=16)
  sources.image(99).save(source / "images" / "00.png")
  (source / "images" / "01.png").unlink()
  again = {"source": source, "data_dir": tmp_path, "overwrite": True}
  with pytest.raises(UserError):
    build.build("rsna", **again)
  kept = spec.open_dataset("rsna", tmp_path, image_size=16)
  assert kept.fingerprint == before.fingerprint
  sources.image(98).save(source / "images" / "01.png")
  build.build("rsna", **again)
  after = spec.open_dataset("rsna", tmp_path, image_size=16)
  assert after.fingerprint != before.fingerprint
  test = before.splits["test"].names.index("00.png")
  changed = (
    after.splits["test"].images[test] != before.splits["test"].images[test]
  )
  assert changed.any()


# A limit on the size of files fails as a full disk does, in every library.
LIMITED = """
import resource, sys
from data_builders import build
import tensorflow_datasets
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(build.main(["rsna", *sys.argv[2:]]))
"""


# The notes of sound files, ArrayRecord's shards, TFDS's description.
@pytest.mark.parametrize("limit", [100, 2500, 4000])
def test_a_full_disk_is_one_sentence(limit, tmp_path):
  source, data = sources.image_list(tmp_path / "source"), tmp_path / "data"
  flags = [f"--source={source}", f"--data_dir={data}"]
  done = subprocess.run(
    [sys.executable, "-c", LIMITED, str(limit), *flags],
    env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2, done.stderr
  assert "Traceback" not in done.stderr
  assert "File too large" in done.stderr.splitlines()[-1]
  assert not list(data.rglob("*array_record*"))
  assert run("rsna", *flags) == 0


@pytest.mark.parametrize(
  "error",
  [
    OSError(28, "No space left on device"),
    RuntimeError("riegeli: writing failed: No space left on device"),
  ],
)
@pytest.mark.parametrize(
  "place", ["write_to_directory", "download_and_prepare"]
)
def test_a_disk_that_is_full_within_tfds(place, error, tmp_path, monkeypatch):
  """`write_to_directory` is what TFDS does in the end."""
  source = sources.image_list(tmp_path / "source")

  def full(*_, **__):
    raise error

  owner = {
    "write_to_directory": tfds.core.DatasetInfo,
    "download_and_prepare": tfds.core.DatasetBuilder,
  }[place]
  monkeypatch.setattr(owner, place, full)
  with pytest.raises(UserError, match="No space left"):
    build.build("rsna", source=source, data_dir=tmp_path / "data")
  assert not list((tmp_path / "data").rglob("*array_record*"))


@pytest.mark.parametrize("error", [ValueError("a defect"), KeyError("defect")])
def test_a_defect_keeps_its_traceback(error, tmp_path, monkeypatch):
  def broken(*_):
    raise error

  monkeypatch.setattr(store, "replace", broken)
  with pytest.raises(type(error)):
    build.build(
      "rsna", source=sources.image_list(tmp_path / "a"), data_dir=tmp_path
    )


def set_of(data):
  """What is found: the fingerprint of the test split."""
  return store.read_facts(store.find_built(data, "rsna"))["fingerprints"]


@pytest.mark.parametrize("step", range(1, 4))
def test_an_interrupted_overwrite_leaves_one_of_the_sets(
  step, tmp_path, monkeypatch
):
  """Killed before any of the renames: the old set or the new one is found."""
  source, data = sources.image_list(tmp_path / "source"), tmp_path / "data"
  flags = (f"--source={source}", f"--data_dir={data}")
  run("rsna", *flags)
  old = set_of(data)
  sources.image(99).save(source / "images" / "00.png")
  done, rename = [], Path.rename

  def counted(path, target):
    assert set_of(data)  # also between any two of them
    if path.name.startswith("1.0.0"):
      done.append(path)
    if len(done) == step:
      raise KeyboardInterrupt
    return rename(path, target)

  monkeypatch.setattr(Path, "rename", counted)
  assert run("rsna", *flags, "--overwrite") == 130
  found = set_of(data)
  assert (found == old) == (step < 3)
  monkeypatch.undo()
  assert run("rsna", *flags, "--overwrite") == 0
  assert set_of(data) != old
  assert [path.name for path in (data / "rsna").iterdir()] == ["1.0.0"]


TORN = [
  b"",
  b"{",
  b"null",
  b"[]",
  b'{"counts": 3}',
  b'{"counts": {"test": 0}, "fingerprints": {"test": "0"}}',
  b'{"counts": {"test": "7"}, "fingerprints": {"test": "0"}}',
  b'{"counts": {"test": 7}, "fingerprints": {"train": "0"}}',
  b'{"counts": {"test": 7}, "fingerprints": [1]}',
  b'{"counts": {"test": true}, "fingerprints": {"test": "0"}}',
  b"\xff\xfe",
  b"[" * 100_000,
]


@pytest.mark.parametrize("content", TORN)
def test_a_torn_metadata_is_one_sentence_and_can_be_replaced(
  content, tmp_path, capsys
):
  source, data = sources.image_list(tmp_path / "source"), tmp_path / "data"
  flags = (f"--source={source}", f"--data_dir={data}")
  run("rsna", *flags)
  path = store.find_built(data, "rsna") / "metadata.json"
  path.write_bytes(content)
  with pytest.raises(UserError, match=r"metadata\.json.*--overwrite"):
    spec.open_dataset("rsna", data, image_size=16)
  capsys.readouterr()
  assert run("rsna", *flags) == 2
  assert "metadata.json" in capsys.readouterr().err
  assert run("rsna", *flags, "--overwrite") == 0
  assert len(spec.open_dataset("rsna", data, image_size=16).splits) == 4


NO_TENSORFLOW = """
import sys
from data_builders import build
build.build("rsna", source=sys.argv[1], data_dir=sys.argv[2])
from medad_jax.data import spec, store
spec.open_dataset("rsna", sys.argv[2], image_size=16)
wrong = [m for m in sys.modules if m.split(".")[0] in ("tensorflow", "torch")]
sys.exit(f"imported: {wrong}" if wrong else 0)
"""

FROM_CACHE = """
import sys
from medad_jax.data import spec, store
spec.open_dataset("rsna", sys.argv[1], image_size=16)
heavy = {"tensorflow_datasets", "PIL", "array_record", "grain", "tqdm"}
wrong = heavy & set(sys.modules)
sys.exit(f"imported: {wrong}" if wrong else 0)
"""


def test_no_tensorflow_and_a_cache_that_needs_numpy_alone(tmp_path):
  source = sources.image_list(tmp_path / "source")
  env = {"PYTHONPATH": ":".join(sys.path)}

  def python(*args):
    subprocess.run([sys.executable, "-c", *args], check=True, env=env)

  python(NO_TENSORFLOW, source, tmp_path / "data")
  # The cache alone, as copied to another machine.
  (tmp_path / "data" / "cache").rename(tmp_path / "cache")
  (tmp_path / "data" / "rsna").rename(tmp_path / "elsewhere")
  python(FROM_CACHE, tmp_path)
