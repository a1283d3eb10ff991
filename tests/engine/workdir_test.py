"""A run's folder is one run's, at any time and from start to end."""

import copy
import errno
import fcntl
import json
import os
import platform
import subprocess
import sys

import pytest

from configs import rsna_ddad
from medad_jax.engine import environment, processes, workdir
from medad_jax.engine.workdir import Workdir
from medad_jax.types import UserError

DATA = {"rsna": {"fingerprint": "f" * 64, "counts": {"train": 10, "test": 6}}}
HERE = {
  "time": "2026-01-01T00:00:00Z",
  "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
  "commit": "1" * 40,
  "devices": ["H100", "H100"],
  "processes": 1,
  "meshes": {"train": {"member": 2, "batch": 1}},
  "precision": "float32",
}


@pytest.fixture
def config():
  return rsna_ddad.get_config().to_dict()


@pytest.fixture
def claimed(tmp_path, config):
  folder = Workdir(tmp_path / "run")
  folder.claim(config, DATA)
  return folder


def test_a_folder_belongs_to_one_configuration(claimed, config):
  claimed.claim(config, DATA)
  elsewhere = copy.deepcopy(config)
  elsewhere["data"]["dir"] = "/data"
  elsewhere["mesh"]["member"] = 2
  claimed.claim(elsewhere, DATA)
  other = copy.deepcopy(config)
  other["train"]["epochs"] = 3
  with pytest.raises(UserError, match=r"train.epochs \(250 there, 3 now\)"):
    claimed.claim(other, DATA)
  assert claimed.config()["train"]["epochs"] == 250


def test_a_folder_without_a_run_is_said(tmp_path):
  with pytest.raises(UserError, match="no config.json"):
    Workdir(tmp_path).config()
  assert Workdir(tmp_path).starts() == []


@pytest.mark.parametrize(
  ("counts", "says"),
  [
    ({"train": 10, "test": 6}, "as many images, but others"),
    ({"train": 9, "test": 6}, "train: 10 images there, 9 now"),
    ({"train": 10}, "test: 6 images there, 0 now"),
  ],
)
def test_a_set_that_was_built_anew_is_refused(claimed, config, counts, says):
  before = claimed.path.joinpath("run.json").read_bytes()
  other = {"rsna": {"fingerprint": "0" * 64, "counts": counts}}
  with pytest.raises(UserError, match=f"rsna is not the one.*{says}"):
    claimed.claim(config, other)
  with pytest.raises(UserError, match="rsna is not the one"):
    claimed.check_data(other)
  assert claimed.path.joinpath("run.json").read_bytes() == before
  claimed.check_data(DATA)


def test_another_set_is_refused(claimed):
  with pytest.raises(UserError, match="not trained on the data set vin"):
    claimed.check_data({"vin": DATA["rsna"]})


def test_a_folder_of_an_earlier_version_is_refused(claimed, config):
  (claimed.path / "run.json").unlink()
  for check in (
    lambda: claimed.claim(config, DATA),
    lambda: claimed.check_data(DATA),
  ):
    with pytest.raises(UserError, match="no run.json.*another --workdir"):
      check()


def saved(folder, *without, **more):
  """The folder's config.json as another version would have written it."""
  path = folder.path / "config.json"
  config = json.loads(path.read_text())
  for name in without:
    section, _, field = name.rpartition(".")
    del (config[section] if section else config)[field]
  config["model"] |= more
  path.write_text(json.dumps(config))


def test_fields_newer_than_a_run_have_their_defaults(claimed, config, capfd):
  before = claimed.config()
  assert capfd.readouterr().err == ""
  saved(claimed, "data.axis", "train.pass_rows", "mesh", "select")
  assert claimed.config() == before
  assert claimed.config() == before
  assert capfd.readouterr().err == (
    f"medad_jax: {claimed.path}/config.json is older than select='last',"
    " data.axis='axial', mesh.member=None, mesh.batch=None,"
    " train.pass_rows=None, which are the defaults.\n"
  )
  other = copy.deepcopy(config)
  other["data"]["axis"] = "coronal"
  with pytest.raises(UserError, match=r"data.axis \(axial there, coronal now"):
    claimed.claim(other, DATA)
  claimed.claim(config, DATA)
  assert json.loads((claimed.path / "config.json").read_text()) == before


def test_a_field_that_is_gone_is_refused_with_the_version(claimed, config):
  """So is one whose meaning changed: it has another name then."""
  claimed.start(HERE | {"versions": {"medad_jax": "0.0.9"}, "commit": "c" * 40})
  saved(claimed, dropout=0.5)
  for read in (claimed.config, lambda: claimed.claim(config, DATA)):
    with pytest.raises(UserError) as caught:
      read()
    said = str(caught.value)
    assert "is of medad_jax 0.0.9 (commit cccccccccc)" in said
    assert "config.model.dropout is no field of ddad" in said
    assert said.endswith(".") and "\n" not in said
  (claimed.path / "run.json").unlink()
  with pytest.raises(UserError, match="unknown version.*model.dropout"):
    claimed.config()


@pytest.mark.parametrize("name", ["config.json", "run.json"])
@pytest.mark.parametrize(
  "text",
  [
    "",
    '{"method": "dd',
    "[1, 2]",
    "null",
    "{}",
    '{"method": 3, "data": [], "starts": {}}',
    '{"method": "ddad", "backbone": "ae", "data": []}',
    "\xff",
    "[" * 100_000,
  ],
)
def test_a_damaged_file_is_one_sentence(claimed, config, name, text):
  path = claimed.path / name
  path.write_bytes(text.encode("latin-1"))
  with pytest.raises(UserError, match=name) as caught:
    claimed.claim(config, DATA)
  assert "another --workdir" in str(caught.value)
  assert len(str(caught.value)) < 400 + len(str(path))


def test_a_claim_that_was_cut_short_is_made_again(tmp_path, config):
  """The configuration is written last, and makes the folder a run's."""
  (tmp_path / "run.json").write_text(json.dumps({"data": {}, "starts": []}))
  Workdir(tmp_path).claim(config, DATA)
  Workdir(tmp_path).check_data(DATA)


def test_every_start_is_kept_and_differences_are_named(claimed):
  later = HERE | {"time": "2026-01-02T00:00:00Z"}
  elsewhere = later | {
    "versions": {"jax": "0.12.0", "numpy": "2.4.6"},
    "devices": ["cpu"],
    "meshes": {"train": {"member": 1, "batch": 1}},
    "precision": "bfloat16",
  }
  assert claimed.start(HERE) == []
  assert claimed.start(later) == []
  assert claimed.start(elsewhere) == [
    "devices 1 × cpu (2 × H100 before)",
    "precision bfloat16 (float32 before)",
    "jax 0.12.0 (0.10.2 before)",
    "mesh of train member 1 × batch 1 (member 2 × batch 1 before)",
  ]
  assert claimed.starts() == [HERE, later, elsewhere]


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
  folder = tmp_path / "run"
  with Workdir(folder).locked():
    with pytest.raises(UserError, match=f"in use by process {os.getpid()} on"):
      with Workdir(folder).locked():
        raise AssertionError("both hold the lock")
  with Workdir(folder).locked():
    pass


def test_an_error_frees_the_folder(tmp_path):
  with pytest.raises(KeyError):
    with Workdir(tmp_path).locked():
      raise KeyError
  with Workdir(tmp_path).locked():
    pass


def test_a_killed_run_stops_no_later_one(tmp_path):
  code = (
    "import fcntl, sys, time; f = open(sys.argv[1], 'a+');"
    "fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
  )
  with subprocess.Popen(
    [sys.executable, "-c", code, str(tmp_path / ".lock")],
    stdout=subprocess.PIPE,
  ) as other:
    assert other.stdout.readline() == b"held\n"
    (tmp_path / ".lock").write_text(json.dumps({"host": platform.node()}))
    with pytest.raises(UserError, match="in use by another process"):
      with Workdir(tmp_path).locked():
        pass
    other.kill()
    other.wait()
  with Workdir(tmp_path).locked():
    pass


def test_a_machine_that_has_died_is_waited_for(tmp_path, monkeypatch):
  """Its file server frees the lock later."""
  first = Workdir(tmp_path).locked()
  with monkeypatch.context() as patch:
    patch.setattr(platform, "node", lambda: "elsewhere")
    first.__enter__()
  waited = []

  def sleep(seconds):
    waited.append(seconds)
    first.__exit__(None, None, None)

  monkeypatch.setattr(workdir.time, "sleep", sleep)
  with Workdir(tmp_path).locked():
    assert waited == [1.0]


def test_only_the_first_of_several_processes_locks(tmp_path, monkeypatch):
  with Workdir(tmp_path).locked():
    monkeypatch.setattr(processes, "first", lambda: False)
    with Workdir(tmp_path).locked():
      pass


def test_the_others_stop_with_the_first_process(tmp_path, monkeypatch):
  monkeypatch.setattr(processes, "first", lambda: False)
  monkeypatch.setattr(processes, "agreed", lambda value: False)
  with pytest.raises(UserError, match="the first process cannot use"):
    with Workdir(tmp_path).locked():
      pass


def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
  def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", flock)
  with Workdir(tmp_path).locked():
    pass


@pytest.mark.parametrize("name", ["file", "file/run", "x" * 300, "/dev/null"])
def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, name):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot be written.*choose a folder"):
    with Workdir(tmp_path / name).locked():
      pass


def test_a_folder_of_somebody_else_is_one_sentence(tmp_path, monkeypatch):
  def refused(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")

  monkeypatch.setattr(type(tmp_path), "open", refused)  # root may do anything
  with pytest.raises(UserError, match="Permission denied.*choose a folder"):
    with Workdir(tmp_path).locked():
      pass


def test_a_description_names_what_runs():
  found = environment.describe("float32", {"a": {"member": 2, "batch": 4}})
  assert json.loads(json.dumps(found)) == found
  assert set(found) == set(HERE)
  assert found["versions"]["jax"] and found["versions"]["medad_jax"]
  assert found["devices"] == ["cpu"] * 8


def test_the_commit_is_that_of_the_tree(tmp_path):
  def git(*arguments):
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

  assert environment._commit(tmp_path) is None
  git("init", "--quiet")
  assert environment._commit(tmp_path) is None
  (tmp_path / "code.py").write_text("a = 1\n")
  git("add", ".")
  git("commit", "--quiet", "--message=one")
  commit = environment._commit(tmp_path)
  assert len(commit) == 40
  (tmp_path / "scores.csv").write_text("")  # no code
  assert environment._commit(tmp_path) == commit
  (tmp_path / "code.py").write_text("a = 2\n")
  assert environment._commit(tmp_path) == f"{commit} with changes"
