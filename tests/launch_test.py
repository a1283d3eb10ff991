"""What the scripts of launch/ hand to the programs that they call."""

import os
from pathlib import Path
import re
import shutil
import subprocess
import tarfile

import pytest

LAUNCH = Path(__file__).parents[1] / "launch"


@pytest.fixture
def stub(tmp_path):
  """Makes a program of a name that does what a line of shell says."""
  folder = tmp_path / "bin"
  folder.mkdir()

  def make(name, line):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)

  make.path = f"{folder}{os.pathsep}{os.environ['PATH']}"
  return make


def run(script, **environment):
  done = subprocess.run(
    ["bash", str(script)],
    capture_output=True,
    text=True,
    env=os.environ | environment,
    timeout=60,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture
def tree(tmp_path):
  """A source tree with work in progress, and a copy of the script."""
  root = tmp_path / "tree"
  (root / "launch").mkdir(parents=True)
  shutil.copy(LAUNCH / "tpu_vm.sh", root / "launch")
  for name in ("committed.py", "changed.py", "removed.py"):
    (root / name).write_text("old")
  (root / ".gitignore").write_text("ignored.py\n")
  who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
  for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True)
  (root / "changed.py").write_text("new")
  (root / "removed.py").unlink()
  (root / "with a space.py").write_text("new")
  (root / "ignored.py").write_text("new")
  return root


def test_a_tpu_gets_this_folder_as_it_is(tree, tmp_path, stub):
  stub(
    "gcloud",
    f'for a; do case "$a" in --command=*) echo "$a";; /*) cp "$a"'
    f" {tmp_path}/sent.tar.gz;; esac; done",
  )
  said = run(tree / "launch" / "tpu_vm.sh", PATH=stub.path)
  with tarfile.open(tmp_path / "sent.tar.gz") as archive:
    sent = {
      member.name: archive.extractfile(member).read()
      for member in archive.getmembers()
      if not member.name.startswith((".git", "launch"))
    }
  assert sent == {
    "committed.py": b"old",
    "changed.py": b"new",
    "with a space.py": b"new",
  }
  # The image's own Python is 3.10, which is too old.
  assert "uv venv --quiet --python 3.12 .venv" in said
  assert ".venv/bin/python -m medad_jax.main --distributed" in said


@pytest.mark.parametrize(("given", "passed"), [("8", "8"), (None, "1")])
def test_slurm_steps_get_the_jobs_cores(tmp_path, stub, given, passed):
  script = (LAUNCH / "slurm.sbatch").read_text()
  (tmp_path / "env" / "bin").mkdir(parents=True)
  (tmp_path / "env" / "bin" / "activate").write_text("")
  for name, value in (("ENVIRONMENT", "env"), ("PROJECT", "")):
    lines = script.splitlines()
    at = next(i for i, s in enumerate(lines) if s.startswith(f"{name}="))
    lines[at] = f"{name}={tmp_path / value}"
    script = "\n".join(lines)
  (tmp_path / "job").write_text(script)
  stub("srun", 'echo "$SRUN_CPUS_PER_TASK" "$@"')
  cores = {} if given is None else {"SLURM_CPUS_PER_TASK": given}
  said = run(tmp_path / "job", PATH=stub.path, **cores)
  assert said.startswith(f"{passed} --kill-on-bad-exit=1 python -m medad_jax")


def test_a_requeued_job_keeps_its_log():
  directives = [
    line.split()[1]
    for line in (LAUNCH / "slurm.sbatch").read_text().splitlines()
    if line.startswith("#SBATCH")
  ]
  assert {"--requeue", "--open-mode=append"} <= set(directives)


def test_an_array_of_slurm_predicts_its_parts(tmp_path, stub):
  script = (LAUNCH / "predict.sbatch").read_text()
  (tmp_path / "env" / "bin").mkdir(parents=True)
  (tmp_path / "env" / "bin" / "activate").write_text("")
  for name, value in (("ENVIRONMENT", "env"), ("PROJECT", "")):
    script = re.sub(f"(?m)^{name}=.*$", f"{name}={tmp_path / value}", script)
  (tmp_path / "job").write_text(script)
  stub("python", 'echo "$@"')
  said = run(
    tmp_path / "job",
    PATH=stub.path,
    SLURM_ARRAY_TASK_ID="3",
    SLURM_ARRAY_TASK_COUNT="16",
  )
  assert said.startswith("-m medad_jax.predict --workdir=")
  assert said.split()[-1] == "--shard=3/16"


def test_an_indexed_job_of_kubernetes_predicts_its_parts(tmp_path, stub):
  text = (LAUNCH / "predict-job.yaml").read_text()
  # The folded scalar below "- >-", as a shell gets it.
  folded = re.search(r"- >-\n((?: {14}.*\n)+)", text)[1]
  (tmp_path / "job").write_text(" ".join(folded.split()))
  stub("python", 'echo "$@"')
  said = run(tmp_path / "job", PATH=stub.path, JOB_COMPLETION_INDEX="2")
  parts = re.search(r"completions: (\d+)", text)[1]
  assert said.split()[-1] == f"--shard=3/{parts}"


@pytest.mark.parametrize(
  "name", ["local.sh", "predict.sbatch", "slurm.sbatch", "tpu_vm.sh"]
)
def test_a_script_is_sound_shell(name):
  subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)
