"""A user's mistake ends with one sentence and status 2, never a traceback."""

import os
import subprocess
import sys

import pytest

CONFIG = "--config=configs/brain_ddad.py"
SSL = "--config=configs/ssl.py:brain/nsa"


def run(*args, module="medad_jax.main", data_dir="/nonexistent"):
  return subprocess.run(
    [sys.executable, "-m", module, *args],
    capture_output=True,
    text=True,
    env=os.environ | {"MEDAD_DATA_DIR": data_dir},
    timeout=120,
    check=False,
  )


@pytest.mark.parametrize(
  ("args", "says"),
  [
    ([], "--config"),
    (["--config=configs/nope.py"], "rsna_ddad.py"),
    ([CONFIG, "--config.train.epocs=2"], '"epochs" instead of "epocs"'),
    ([CONFIG, "--config.traim.epochs=2"], '"train" instead of "traim"'),
    ([CONFIG, "--config.train.epochs=two"], "config.train.epochs=two"),
    ([CONFIG, "--confg.seed=2"], "confg.seed"),
    ([CONFIG, "extra"], "'extra' is not a flag"),
    ([CONFIG, "--config.ensemble.size=1"], "ensemble.size=1"),
    ([CONFIG, "--config.data.image_size=70"], "multiple of 16"),
    (
      [CONFIG, "--config.mesh.member=1", "--config.mesh.batch=5"],
      "train.batch_size=64",
    ),
    (["--config=configs/ssl.py:brain/nas"], "did you mean 'nsa'"),
    ([CONFIG, "--config.select=synthetic"], "no synthetic anomalies"),
    ([SSL, "--config.select=synthetic"], "validation.share"),
    ([SSL, "--config.select=best"], "'last' or to 'synthetic'"),
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
