"""Evaluations that stop early, and the files that they leave."""

import dataclasses
import errno
import io
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest

from medad_jax.types import UserError
from tests import tiny
from tests.engine.evaluated import dataset, evaluate, initial, make_model


@pytest.fixture(scope="module")
def method():
  return tiny.method()


@pytest.fixture(scope="module")
def states(method):
  return initial(method)


def test_scores_that_are_not_finite_are_named(method, states, tmp_path):
  broken = dict(states)
  broken["refine_dual"] = jax.tree.map(
    lambda x: x * np.nan if x.dtype == np.float32 else x,
    states["refine_dual"],
  )
  with pytest.raises(UserError, match=r"r_dual \(4 images\); the net has"):
    evaluate(method, broken, dataset([0, 1] * 2), tmp_path)


@pytest.mark.parametrize("save", [("mapz",), ("maps", "codes")])
def test_unknown_arrays_are_refused(method, states, tmp_path, save):
  with pytest.raises(UserError, match=f"--save={save[-1]} .*maps, recons"):
    evaluate(method, states, dataset([0, 1]), tmp_path, save=save)
  assert not list(tmp_path.iterdir())


def test_a_model_refuses_other_images(method, states):
  model = make_model(method, states)
  good = tiny.images(2)
  for images in (good[:, :8], good.astype(np.float32), good[:0]):
    with pytest.raises(UserError, match=r"\('n', 16, 16, 1\)"):
      model.score(images)


NAMES = (
  "ähnlich.png",
  "影像.png",
  b"\xc1\xf6.png".decode("utf-8", "surrogateescape"),
)


def test_names_of_any_encoding_are_written(method, states, tmp_path):
  data = dataset([0, 1, 1], masks=False)
  split = dataclasses.replace(data.splits["test"], names=NAMES)
  named = dataclasses.replace(data, splits={"test": split}, name="größe")
  evaluate(method, states, named, tmp_path, drawn=True)
  text = (tmp_path / "scores.csv").read_text(encoding="utf-8")
  assert NAMES[0] in text and NAMES[1] in text and "\\udcc1" in text
  assert "größe" in (tmp_path / "report.html").read_text(encoding="utf-8")


def full(*_, **__):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullFile(io.BytesIO):
  """A file on a full disk, which fails when what it buffers is written."""

  flush = close = full


@pytest.mark.parametrize(
  ("where", "left"),
  [
    ("room", set()),
    ("maps", {"scores.csv"}),
    ("scores.csv", set()),
    ("results.json", {"scores.csv"}),
    ("figures/roc.png", {"scores.csv", "results.json", "figures"}),
    ("report.html", {"scores.csv", "results.json", "figures"}),
  ],
)
def test_a_full_disk_is_one_sentence_and_loses_nothing(
  method, states, tmp_path, monkeypatch, where, left
):
  if where == "room":
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
  elif where == "maps":
    real, opened = tempfile.TemporaryFile, []

    def file(**options):  # the first one asks whether the folder is writable
      opened.append(options)
      return FullFile() if opened[1:] else real(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", file)
  else:
    replace = Path.replace

    def replace_or_fail(self, target):
      if Path(target) == tmp_path / where:
        full()
      return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_or_fail)
  with pytest.raises(UserError, match="No space left|MB free where"):
    evaluate(method, states, dataset([0, 1] * 6), tmp_path, drawn=True)
  assert {path.name for path in tmp_path.iterdir()} == left
  for path in tmp_path.rglob("*"):
    assert not path.name.endswith(".tmp")


def test_a_killed_evaluation_leaves_no_maps(tmp_path):
  """Their files have no name: what is killed takes them with it."""
  code = (
    "import os, signal, sys\n"
    "from pathlib import Path\n"
    "import numpy as np\n"
    "from medad_jax.engine import arrays\n"
    "kept = arrays.Arrays(Path(sys.argv[1]), 4)\n"
    "kept.append({'map': np.ones((2, 1, 8, 8), np.float32)})\n"
    "os.kill(os.getpid(), signal.SIGKILL)\n"
  )
  done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
  assert done.returncode == -signal.SIGKILL
  assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written_are_one_sentence(
  method, states, tmp_path
):
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="file.* cannot be written"):
    evaluate(
      method, states, dataset([0, 1]), tmp_path, out=tmp_path / "file" / "out"
    )
