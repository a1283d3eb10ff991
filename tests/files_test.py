"""Files are written whole or not at all, and read with one sentence."""

import errno
import os
from pathlib import Path
import pwd
import subprocess
import sys

import pytest

from medad_jax import files
from medad_jax.types import UserError


@pytest.fixture
def homeless(monkeypatch):
  """A container's user that no file knows."""

  def nobody(_):
    raise KeyError

  for name in ("HOME", "MEDAD_DATA_DIR", "MEDAD_CACHE_DIR"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize(
  ("function", "variable"),
  [
    (files.data_dir, "MEDAD_DATA_DIR"),
    (files.cache_dir, "MEDAD_CACHE_DIR"),
    (lambda: files.expanded("~/runs"), "HOME"),
    (lambda: files.expanded("~nobody_of_this_name/runs"), "HOME"),
  ],
)
def test_without_a_home_it_is_said_what_to_set(homeless, function, variable):
  with pytest.raises(UserError, match=f"set {variable}"):
    function()


def test_without_a_home_whole_paths_work(homeless, monkeypatch):
  assert str(files.expanded("/data/x")) == "/data/x"
  monkeypatch.setenv("MEDAD_DATA_DIR", "/data")
  assert str(files.data_dir()) == "/data"


def test_a_variable_may_start_at_home(monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  monkeypatch.setenv("MEDAD_CACHE_DIR", "~/cache")
  assert str(files.cache_dir()) == "/home/me/cache"


@pytest.mark.parametrize(
  "error", [KeyError(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_what_cannot_be_finished_leaves_the_old_file(tmp_path, error):
  path = tmp_path / "folder" / "a.json"
  files.write_json(path, {"old": 1})
  expected = UserError if isinstance(error, OSError) else KeyError
  with pytest.raises(expected):
    with files.replacing(path) as file:
      file.write(b"half")
      raise error
  assert files.read_json(path, "") == {"old": 1}
  assert os.listdir(path.parent) == ["a.json"]


def test_a_file_appears_when_it_is_whole(tmp_path):
  path = tmp_path / "a.txt"
  with files.replacing(path) as file:
    file.write(b"text")
    assert not path.exists()
  assert path.read_bytes() == b"text"


@pytest.mark.parametrize("name", ["file/a.json", "x" * 300, "folder"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, name):
  (tmp_path / "file").write_text("")
  (tmp_path / "folder").mkdir()
  with pytest.raises(UserError, match="cannot be written.*make room"):
    files.write_json(tmp_path / name, {})


@pytest.mark.parametrize(
  "data", [b"", b'{"a":', b"[]", b"3", b"null", b"\xff\x00", b"[" * 100_000]
)
def test_what_is_no_json_object_is_one_sentence(tmp_path, data):
  path = tmp_path / "a.json"
  path.write_bytes(data)
  with pytest.raises(UserError, match=r"a.json .*; build it again\.$"):
    files.read_json(path, "build it again")


def test_a_byte_order_mark_is_read(tmp_path):
  (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
  assert files.read_json(tmp_path / "a.json", "") == {"a": 1}


def test_what_cannot_be_read_is_one_sentence(tmp_path):
  with pytest.raises(UserError, match="cannot be read.*No such file"):
    files.read_json(tmp_path / "a.json", "build it again")


@pytest.mark.parametrize("content", ["größe ±\n", b"\x00\xff"])
def test_what_is_written_is_read(tmp_path, content):
  path = tmp_path / "file"
  path.write_text("before")
  files.write(path, content)
  expected = content if isinstance(content, bytes) else content.encode()
  assert path.read_bytes() == expected
  assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_tried(tmp_path):
  files.make_folder(tmp_path / "a" / "b")
  assert not list((tmp_path / "a" / "b").iterdir())
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="file/x cannot be written"):
    files.make_folder(tmp_path / "file" / "x")


def test_room_is_asked_for(tmp_path):
  files.check_room(tmp_path, 1)
  with pytest.raises(UserError, match=r"MB free .* 1,000,000,000 MB; .*--out"):
    files.check_room(tmp_path, 10**15)


def test_a_locale_without_utf8_changes_nothing(tmp_path):
  """The files of an evaluation, under a locale that knows ASCII only."""
  code = (
    "import locale, sys\n"
    "from pathlib import Path\n"
    "import numpy as np\n"
    "from medad_jax.data import spec\n"
    "from medad_jax.engine import members, score_table\n"
    "from medad_jax.report import page\n"
    "from medad_jax.report.results import Results\n"
    "from medad_jax import files\n"
    "from tests.report.page_test import make_results\n"
    "try: 'ä'.encode(locale.getpreferredencoding(False))\n"
    "except UnicodeEncodeError: pass\n"
    "else: raise SystemExit('this locale knows ä')\n"
    "out, labels = Path(sys.argv[1]), np.array([0, 1, 1])\n"
    "images = np.zeros((3, 4, 4, 1), np.uint8)\n"
    "split = spec.Split(images, labels, ('\\xe4', '\\u5f71', '\\udcc1'))\n"
    "found = {'rec': np.ones((3, 1), np.float32)}\n"
    "trials = (members.Trial(0),)\n"
    "files.write(out / 's.csv', score_table.write(split, found, trials))\n"
    "results = make_results({'rec': np.arange(3.0)}, labels)\n"
    "results.save(out / 'r.json')\n"
    "assert Results.load(out / 'r.json') == results\n"
    "page.write(out / 'p.html', results, ())\n"
  )
  script = tmp_path / "script.py"
  script.write_text(code, encoding="utf-8")
  environment = os.environ | {
    "PYTHONPATH": str(Path(__file__).parents[1]),
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
  }
  subprocess.run(
    [sys.executable, script, tmp_path],
    check=True,
    env=environment,
    cwd=Path(__file__).parents[1],
  )
  rows = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()[1:]
  assert [row.split(",")[1] for row in rows] == ["ä", "影", "\\udcc1"]
  assert "χ²" in (tmp_path / "p.html").read_text(encoding="utf-8")
