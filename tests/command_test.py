"""The command `medad` is its modules by other names, and the doctor is read."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from medad_jax import command, doctor
from tests.launched import ROOT


def medad(*arguments, module="medad_jax.command"):
  return subprocess.run(
    [sys.executable, "-m", module, *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_help_shows_what_a_newcomer_needs(capsys):
  assert command.main([]) == command.main(["--help"]) == 0
  said = capsys.readouterr().out
  for line in ("medad train --config=configs/folder.py", "medad predict --w"):
    assert line in said
  for name in command.commands():
    assert f"\n  {name} " in said
  assert {"train", "evaluate", "build", "weights"} <= set(command.commands())


def test_a_module_that_is_not_there_is_no_command(monkeypatch, capsys):
  monkeypatch.setitem(command.MODULES, "dream", "medad_jax.dream")
  assert "dream" not in command.commands()
  assert command.main(["dream"]) == 2


@pytest.mark.parametrize(
  "word, said",
  [
    ("trian", "'trian' is no command; did you mean train?"),
    ("xyz", "'xyz' is no command; medad --help lists them."),
    ("--workdir=W", "write medad COMMAND --workdir=W."),
  ],
)
def test_unknown_words_get_a_hint(word, said, capsys):
  assert command.main([word]) == 2
  assert said in capsys.readouterr().err


def test_a_command_is_its_module():
  wrong = ("--workdir=/nowhere",)
  named = medad("export", *wrong)
  own = medad(*wrong, module="medad_jax.export")
  assert named.returncode == own.returncode == 2
  assert named.stderr == own.stderr and "holds no run" in own.stderr


def test_the_doctor_says_a_line_of_each(monkeypatch):
  monkeypatch.setattr(
    doctor.socket, "create_connection", lambda *_: SimpleNamespace(close=int)
  )
  found = list(doctor.findings())
  assert not any(one.serious for one in found)
  assert all("\n" not in str(one) for one in found)
  names = {one.name for one in found}
  assert {"python", "packages", "devices", "memory", "cache"} <= names


def test_the_doctor_says_what_to_do(monkeypatch, tmp_path):
  (tmp_path / "file").touch()
  monkeypatch.setenv("MEDAD_CACHE_DIR", str(tmp_path / "file"))
  monkeypatch.setattr(doctor.sys, "version_info", (3, 8, 0))
  monkeypatch.setattr(doctor.shutil, "which", lambda _: "/bin/nvidia-smi")
  monkeypatch.setattr(doctor, "_LEAST_MEMORY", 1e18)
  monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["jax>=99.0"])

  def none(*_):
    raise RuntimeError("no driver\nmore")

  monkeypatch.setattr(jax, "devices", none)
  monkeypatch.setattr(doctor.socket, "create_connection", offline)
  said = {one.name: str(one) for one in doctor.findings()}
  for name, text in {
    "python": "RED   python: .*; install Python 3.11 to 3.13",
    "packages": "RED .*(99.0 is needed)",
    "devices": "RED .*finds none (no driver); unset",
    "NVIDIA card": "note .*jax uses the CPU; pip install",
    "memory": "note .*lower evaluation.batch_size",
    "cache": "RED .*set MEDAD_CACHE_DIR to a folder",
    "network": "note .*offline; training and scoring need none",
  }.items():
    start, _, end = text.partition(".*")
    assert said[name].startswith(start) and end in said[name], said[name]


def offline(*_):
  raise OSError
