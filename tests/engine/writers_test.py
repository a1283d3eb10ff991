import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading

import jax.numpy as jnp
import pytest
from tensorboardX.proto import event_pb2

from medad_jax.engine import writers
from medad_jax.types import UserError


def lines(workdir):
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def timeless(workdir):
  drop = ("time", "seconds")
  return [
    {k: v for k, v in line.items() if k not in drop} for line in lines(workdir)
  ]


def board(workdir):
  """Everything in TensorBoard's files: {tag: {step: value}}."""
  found = {}
  for path in (workdir / "tensorboard").iterdir():
    data = path.read_bytes()
    while data:
      size = int.from_bytes(data[:8], "little")
      event = event_pb2.Event.FromString(data[12 : 12 + size])
      for value in event.summary.value:
        found.setdefault(value.tag, {})[event.step] = value.simple_value
      data = data[16 + size :]
  return found


def run(workdir, first, last, phase="train", every=2):
  """A run that continues at `first` and is killed after `last`."""
  log = writers.Writers(workdir)
  log.rewind(phase, first)
  for step in range(first + every, last + 1, every):
    log.scalars(
      phase, step, {"loss": [1.0 / step, 2.0 / step], "seconds": 3.0 * step}
    )
  return log


def test_lines_say_what_was_given(tmp_path):
  log = writers.Writers(tmp_path / "new" / "folder")
  log.scalars("train", 8, {"loss": [0.5, None, float("nan")], "rate": 2.0})
  log.close()
  (line,) = lines(tmp_path / "new" / "folder")
  assert line.pop("time") > 1e9
  assert line == {
    "phase": "train",
    "step": 8,
    "loss": [0.5, None, None],
    "rate": 2.0,
  }


def test_tensorboard_shows_every_member(tmp_path):
  log = writers.Writers(tmp_path)
  log.scalars("train", 8, {"loss": [0.5, None, 0.25], "rate": 2.0})
  log.scalars("train", 9, {"loss": [0.5, 1.0, 0.25]})
  log.close()
  assert board(tmp_path) == {
    "train/loss/0": {8: 0.5, 9: 0.5},
    "train/loss/1": {9: 1.0},
    "train/loss/2": {8: 0.25, 9: 0.25},
    "train/rate": {8: 2.0},
  }


def test_reserved_names_are_refused(tmp_path):
  with pytest.raises(ValueError, match="step"):
    writers.Writers(tmp_path).scalars("train", 1, {"step": 1.0})


def test_a_resumed_run_reads_like_an_undisturbed_one(tmp_path):
  for phase in ("train", "refine"):
    run(tmp_path / "whole", 0, 20, phase).close()
  run(tmp_path / "cut", 0, 14).close()  # the last checkpoint was at 10
  run(tmp_path / "cut", 10, 20).close()
  run(tmp_path / "cut", 0, 6, "refine").close()  # no checkpoint yet
  run(tmp_path / "cut", 0, 20, "refine").close()
  assert timeless(tmp_path / "cut") == timeless(tmp_path / "whole")
  assert board(tmp_path / "cut") == board(tmp_path / "whole")


def test_going_back_drops_later_phases(tmp_path):
  for phase in ("one", "two", "three"):
    run(tmp_path, 0, 4, phase).close()
  log = writers.Writers(tmp_path)
  assert log.rewind("two", 2) == 6.0
  log.close()
  assert [(r["phase"], r["step"]) for r in lines(tmp_path)] == [
    ("one", 2),
    ("one", 4),
    ("two", 2),
  ]
  assert writers.phase_seconds(tmp_path) == {"one": 12.0, "two": 6.0}
  assert board(tmp_path).keys() == {
    f"{phase}/{name}"
    for phase in ("one", "two")
    for name in ("loss/0", "loss/1", "seconds")
  }


def test_a_new_phase_has_no_seconds_behind_it(tmp_path):
  log = run(tmp_path, 0, 4)
  assert log.rewind("refine", 0) == 0.0
  assert len(lines(tmp_path)) == 2


def test_nothing_is_there_before_the_first_run(tmp_path):
  assert writers.phase_seconds(tmp_path) == {}


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_dropped(tmp_path, cut):
  run(tmp_path, 0, 4).close()
  path = tmp_path / "metrics.jsonl"
  whole = path.read_bytes()
  path.write_bytes(whole[:-cut])
  assert len(writers.records(tmp_path)) == 1  # read as it is, torn
  log = writers.Writers(tmp_path)
  assert len(lines(tmp_path)) == 1
  log.scalars("train", 4, {"loss": 1.0})
  assert [line["step"] for line in lines(tmp_path)] == [2, 4]


def test_a_killed_process_loses_no_line(tmp_path):
  """SIGKILL right after the call returns."""
  code = (
    "import os, pathlib, signal, sys;"
    "from medad_jax.engine import writers;"
    "log = writers.Writers(pathlib.Path(sys.argv[1]));"
    "log.scalars('train', 1, {'loss': 1.0}); log.note('said');"
    "os.kill(os.getpid(), signal.SIGKILL)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, str(tmp_path)],
    stderr=subprocess.DEVNULL,
    check=False,
  )
  assert done.returncode == -signal.SIGKILL
  assert [line["step"] for line in lines(tmp_path)] == [1]
  assert (tmp_path / "log.txt").read_text().endswith(" said\n")


@pytest.mark.parametrize(
  "line", [b"oops", b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 100_000]
)
def test_a_damaged_line_is_named(tmp_path, line):
  run(tmp_path, 0, 2).close()
  with (tmp_path / "metrics.jsonl").open("ab") as file:
    file.write(line + b"\n")
  with pytest.raises(UserError, match="line 2 of .*metrics.jsonl") as caught:
    writers.phase_seconds(tmp_path)
  assert len(str(caught.value)) < 400


@contextlib.contextmanager
def full_disk(size: int):
  """No file can grow beyond `size` bytes."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
  ("write", "name"),
  [
    (lambda log: log.scalars("train", 6, {"loss": 1.0}), "metrics.jsonl"),
    (lambda log: log.rewind("train", 4), "metrics.jsonl"),
    (lambda log: log.note("a note"), "log.txt"),
    (lambda log: log.keep("table.txt", "a line\n" * 40), "table.txt"),
  ],
)
def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(
  tmp_path, write, name
):
  log = run(tmp_path, 0, 4)
  log.note("a note")
  log.keep("table.txt", "short")
  log.close()
  before = {p: p.read_bytes() for p in tmp_path.glob("*.*")}
  # Half a line more than log.txt has; metrics.jsonl is longer.
  with full_disk(len(before[tmp_path / "log.txt"]) + 10):
    with pytest.raises(UserError, match=f"{name} cannot be written"):
      write(log)
  assert {p: p.read_bytes() for p in tmp_path.glob("*.*")} == before


def test_tensorboard_does_without_room(tmp_path, capsys):
  """It is a view; the record goes on, and draws it again later."""
  log = writers.Writers(tmp_path)
  (tmp_path / "tensorboard").write_text("a file in the way")
  for step in (1, 2):
    log.scalars("train", step, {"loss": 1.0})
  log.close()
  assert [line["step"] for line in lines(tmp_path)] == [1, 2]
  assert capsys.readouterr().err.count("no more TensorBoard files") == 1


def test_no_thread_writes(tmp_path):
  """The end of an interrupted program would wait for it."""
  before = threading.enumerate()
  log = run(tmp_path, 0, 40)
  assert threading.enumerate() == before
  log.close()


@pytest.mark.parametrize("path", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot be written"):
    writers.Writers(tmp_path / path)


def test_a_second_process_writes_nothing(tmp_path, capsys):
  log = writers.Writers(tmp_path / "none", enabled=False)
  log.scalars("train", 1, {"loss": 1.0})
  log.note("hello")
  assert log.rewind("train", 0) == 0.0
  log.close()
  with writers.Progress("train", 1, enabled=False) as bar:
    bar.update(1, 1, 0.0)
  assert not (tmp_path / "none").exists()
  assert capsys.readouterr().err == ""


def test_tensorboard_loads_no_pytorch(tmp_path):
  """It would, where there is one, and a run's start would wait for it."""
  (tmp_path / "torch.py").write_text("raise SystemExit('torch was loaded')")
  code = (
    "import pathlib, sys; from medad_jax.engine import writers;"
    "log = writers.Writers(pathlib.Path(sys.argv[1]));"
    "log.scalars('train', 1, {'loss': 1.0}); log.close();"
    "assert 'torch' not in sys.modules"
  )
  path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
  done = subprocess.run(
    [sys.executable, "-c", code, str(tmp_path / "run")],
    env=os.environ | {"PYTHONPATH": path},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert board(tmp_path / "run") == {"train/loss": {1: 1.0}}


def test_without_tensorboardx_it_is_said_once(tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorboardX", None)
  log = run(tmp_path, 0, 4)
  log.close()
  assert capsys.readouterr().err.count("tensorboardX is not installed") == 1
  assert len(lines(tmp_path)) == 2
  assert not (tmp_path / "tensorboard").exists()


class Clock:
  """Stands for time.monotonic."""

  def __init__(self, monkeypatch):
    self.now = 0.0
    monkeypatch.setattr(writers.time, "monotonic", lambda: self.now)


def test_lines_come_by_time_and_by_share(monkeypatch, capsys):
  clock = Clock(monkeypatch)
  with writers.Progress("train", 100) as bar:
    clock.now = 30.0  # compiling
    bar.update(1, 64, 0.5)
    for _ in range(4):
      clock.now += 1.0
      bar.update(1, 64, 0.25)
    clock.now += 6.0
    bar.update(1, 64, 0.25)
    bar.update(10, 640, 0.125)
  first, second, third = capsys.readouterr().err.splitlines()
  assert first == "train: 1/100 steps (1%), loss 0.5"
  # Five steps in ten seconds; compiling is not counted.
  assert second == (
    "train: 6/100 steps (6%), loss 0.25, 32 images/s, 3:08 left"
  )
  assert third.startswith("train: 16/100 steps (16%), loss 0.125")


def test_a_pause_is_not_counted(monkeypatch, capsys):
  clock = Clock(monkeypatch)
  with writers.Progress("train", 10) as bar:
    bar.update(1, 64, 0.5)
    clock.now = 1.0
    bar.update(1, 64, 0.5)
    bar.pause()
    clock.now = 31.0  # compiling
    bar.update(1, 64, 0.5)
    clock.now = 32.0
    bar.update(1, 64, 0.5)
  lines = capsys.readouterr().err.splitlines()
  assert lines[-2] == "train: 3/10 steps (30%), loss 0.5"
  assert lines[-1].endswith("loss 0.5, 64 images/s, 0:06 left")


def test_the_last_step_is_always_told(monkeypatch, capsys):
  clock = Clock(monkeypatch)
  with writers.Progress("train", 100, done=98) as bar:
    bar.update(1, 64, 0.5)
    clock.now = 0.5
    bar.update(1, 64, 0.5)
  (line,) = capsys.readouterr().err.splitlines()
  assert (
    line == "train: 100/100 steps (100%), loss 0.5, 128 images/s, 0:00 left"
  )


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_terminal_gets_a_bar_and_notes_above_it(tmp_path, monkeypatch):
  terminal = Terminal()
  monkeypatch.setattr(sys, "stderr", terminal)
  with writers.Progress("train", 40, done=10) as bar:
    bar.update(20, 1280, 0.25)
    writers.Writers(tmp_path).note("a message")
  text = terminal.getvalue()
  assert "a message\n" in text
  assert "train" in text
  assert "30/40" in text
  assert "loss 0.25" in text


@pytest.mark.parametrize(
  ("seconds", "text"),
  [(0.2, "0:00 left"), (125.0, "2:05 left"), (7384.0, "2:03:04 left")],
)
def test_clock(seconds, text):
  assert writers._clock(seconds) == text


PARAMS = {
  "net": {"dense": {"kernel": jnp.zeros((3, 4, 5)), "bias": jnp.zeros((3, 5))}}
}


def test_parameter_table_counts_one_member():
  table, line = writers.parameter_table(PARAMS)
  assert "net/dense/kernel" in table
  assert "(4, 5)" in table
  assert line == "3 x 25 = 75 parameters"
  assert table.endswith(f"\n{line}")
  one = {"net": {"kernel": jnp.zeros((1, 7))}}
  assert writers.parameter_table(one)[1] == "7 parameters"


def test_parameter_table_without_clu(monkeypatch):
  monkeypatch.setitem(sys.modules, "clu", None)
  monkeypatch.delitem(sys.modules, "clu.parameter_overview", raising=False)
  table, line = writers.parameter_table(PARAMS)
  assert table == "install clu to see the parameters by name"
  assert line == "3 x 25 = 75 parameters"
