"""A user's mistake ends with one sentence and status 2, never a traceback."""

import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

from medad_jax.engine import cli

CONFIG = "--config=configs/brain_ddad.py"
SSL = "--config=configs/ssl.py:brain/nsa"


def run(*args, module="medad_jax.main", **environment):
  return subprocess.run(
    [sys.executable, "-m", module, *args],
    capture_output=True,
    text=True,
    env=os.environ | {"MEDAD_DATA_DIR": "/nonexistent"} | environment,
    timeout=120,
    check=False,
  )


@pytest.mark.parametrize(
  ("args", "says"),
  [
    ([], "--config"),
    (["--config=configs/nope.py"], "rsna_ddad.py"),
    (["--config=tests/engine/cli_test.py"], "has no attribute 'get_config'"),
    (["--flagfile=absent", CONFIG], "'absent'"),
    ([CONFIG, "--config.train.epocs=2"], '"epochs" instead of "epocs"'),
    ([CONFIG, "--config.traim.epochs=2"], '"train" instead of "traim"'),
    ([CONFIG, "--config.train.epochs=two"], "config.train.epochs=two"),
    ([CONFIG, "--confg.seed=2"], "confg.seed"),
    ([CONFIG, "extra"], "'extra' is not a flag"),
    ([CONFIG, "--config.ensemble.size=1"], "ensemble.size=1"),
    ([CONFIG, "--config.data.image_size=70"], "multiple of 16"),
    ([CONFIG, "--config.data.resize=crop"], "it is 'preparation' now"),
    (
      [CONFIG, "--config.mesh.member=1", "--config.mesh.batch=5"],
      "train.batch_size=64",
    ),
    ([CONFIG, "--config.=3"], "no such field"),
    ([CONFIG, "--config.train.rate_lag=1"], "'schedule.lag' now"),
    (["--config=configs/ssl.py:brain/nas"], "did you mean 'nsa'"),
    ([SSL, "--config.select=synthetic"], "validation.share"),
    ([CONFIG, "--config.select=best"], "one of last, average, synthetic, v"),
    ([SSL, "--config.recipe.lable=raw"], "lable"),
    ([f"{CONFIG}:vea"], "'vea' is not a method"),
    ([CONFIG], "python -m medad_jax.build brain"),
  ],
)
def test_a_mistake_is_one_sentence(args, says, tmp_path):
  done = run(*args, f"--workdir={tmp_path}/run")
  assert done.returncode == 2, done.stderr
  assert done.stdout == ""
  assert says in done.stderr
  assert "Traceback" not in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
  assert not (tmp_path / "run").exists()


def test_an_evaluation_without_a_run_is_one_sentence(tmp_path):
  done = run(f"--workdir={tmp_path}", module="medad_jax.evaluate")
  assert done.returncode == 2
  assert "no config.json" in done.stderr
  assert "Traceback" not in done.stderr


def test_a_platform_that_is_not_there_is_one_sentence(tmp_path):
  done = run(CONFIG, f"--workdir={tmp_path}/run", JAX_PLATFORMS="cuda")
  assert done.returncode == 2
  assert "JAX_PLATFORMS=cuda cannot be used here" in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1


INTERRUPTED = """
import threading
from medad_jax.engine import cli

def main():
  threading.Thread(target=threading.Event().wait).start()  # never ends
  raise KeyboardInterrupt

cli.run(main)
"""


def test_an_interrupted_program_waits_for_no_thread():
  done = subprocess.run(
    [sys.executable, "-c", INTERRUPTED],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )
  assert done.returncode == 130
  assert done.stderr == (
    "medad_jax: interrupted; run the same command again to go on\n"
  )


def test_a_path_may_start_at_home(monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  path = cli._PathParser()
  assert path.parse("~/runs/a") == Path("/home/me/runs/a")
  assert path.parse("runs/~a") == Path("runs/~a")
  with pytest.raises(ValueError, match="missing"):
    path.parse("")


# A flag's name and its options, as far as the first closing parenthesis.
FLAGS = re.compile(
  r'(?:DEFINE_string|add_argument)\(\s*"-*(workdir|data_dir|out|source)"(.*?)\)',
  re.DOTALL,
)


@pytest.mark.parametrize(
  "path",
  [*Path("medad_jax").glob("*.py"), *Path("benchmarks").glob("*.py")],
  ids=str,
)
def test_every_flag_of_a_path_expands_a_tilde(path):
  """`cli.define_path` does, and `files.expanded` as argparse's type."""
  for name, options in FLAGS.findall(path.read_text()):
    assert "files.expanded" in options, name


def entries(folder, *sizes):
  """Files of these sizes, from the one that was used last to the first."""
  folder.mkdir()
  for age, size in enumerate(sizes):
    path = folder / f"{age}-cache"
    path.write_bytes(bytes(size))
    os.utime(path, (1e9 - age, 1e9 - age))


@pytest.mark.parametrize(
  ("most", "left"),
  [(1000, [0, 1, 2, 3]), (60, [0, 1, 2]), (59, [0, 1]), (9, []), (0, [])],
)
def test_the_cache_of_programs_is_bounded(tmp_path, most, left):
  entries(tmp_path / "compiled", 10, 20, 30, 40)
  cli._prune(tmp_path / "compiled", most)
  found = sorted(path.name for path in (tmp_path / "compiled").iterdir())
  assert found == [f"{age}-cache" for age in left]


def test_a_cache_that_is_absent_needs_no_pruning(tmp_path):
  cli._prune(tmp_path / "none", 0)
  assert not (tmp_path / "none").exists()


def test_a_terminal_without_unicode_shows_the_table():
  code = (
    "from medad_jax.engine import cli; cli.run(lambda: print('0.8 \u00b1 0.1'))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    env=os.environ | {"PYTHONIOENCODING": "ascii"},
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == "0.8 \\xb1 0.1\n"
