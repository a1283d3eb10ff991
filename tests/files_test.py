"""Files are whole or not there, and UTF-8 under any locale."""

import errno
import os
from pathlib import Path
import subprocess
import sys

import pytest

from medad_jax import files
from medad_jax.types import UserError


def full(*_):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("content", ["größe ±\n", b"\x00\xff"])
def test_what_is_written_is_read(tmp_path, content):
  path = tmp_path / "file"
  path.write_text("before")
  files.write(path, content)
  expected = content if isinstance(content, bytes) else content.encode()
  assert path.read_bytes() == expected
  assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path):
  path = tmp_path / "file"
  path.write_text("before")
  with pytest.raises(UserError, match=r"file cannot be written \(No space"):
    with files.replacing(path) as file:
      file.write(b"half of")
      full()
  assert path.read_text() == "before"
  assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_what_was_there(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with files.replacing(tmp_path / "file"):
      raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


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
    "from medad_jax.engine import evaluation\n"
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
    "files.write(out / 's.csv', evaluation._table(split, found, (0,)))\n"
    "results = make_results({'rec': np.arange(3.0)}, labels)\n"
    "results.save(out / 'r.json')\n"
    "assert Results.load(out / 'r.json') == results\n"
    "page.write(out / 'p.html', results, ())\n"
  )
  environment = os.environ | {
    "LC_ALL": "C",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONUTF8": "0",
  }
  subprocess.run(
    [sys.executable, "-c", code, tmp_path],
    check=True,
    env=environment,
    cwd=Path(__file__).parents[1],
  )
  rows = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()[1:]
  assert [row.split(",")[1] for row in rows] == ["ä", "影", "\\udcc1"]
  assert "χ²" in (tmp_path / "p.html").read_text(encoding="utf-8")
