"""Configuration files and builders are found in the tree and in a wheel."""

import os
from pathlib import Path
import shutil
import subprocess
import sys
import zipfile

import pytest

import configs
from medad_jax import shipped
from medad_jax.types import UserError
from tests.data_builders import sources

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def path_of_configs(monkeypatch):
  monkeypatch.setattr(configs, "__path__", list(configs.__path__))


def test_in_the_tree_they_stand_beside_the_package():
  assert shipped.folder() == ROOT
  assert shipped.module("configs.ssl").METHODS


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  ours = shipped.configuration_file("configs/phantom_ddad.py")
  assert ours == ROOT / "configs" / "phantom_ddad.py"
  (tmp_path / "configs").mkdir()
  mine = tmp_path / "configs" / "phantom_ddad.py"
  mine.write_text("")
  found = shipped.configuration_file("configs/phantom_ddad.py")
  assert found.absolute() == mine
  assert shipped.configuration_file(str(mine)) == mine


def test_a_file_finds_its_neighbours_and_ours(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "_mine_alone.py").write_text("NAME = 'mine'")
  (tmp_path / "configs" / "mine.py").write_text("")
  shipped.configuration_file("configs/mine.py")
  assert shipped.module("configs._mine_alone").NAME == "mine"
  assert shipped.module("configs._base").default


def test_a_path_may_start_at_home(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "mine.py").write_text("")
  assert shipped.configuration_file("~/mine.py") == tmp_path / "mine.py"


@pytest.mark.parametrize(
  ("given", "says"),
  [
    ("", "NAME is one of brain_ddad"),
    ("configs", "configs is a folder; configs holds brain_ddad.py"),
    ("configs/nope.py", "names no file; configs holds brain_ddad.py"),
    ("/nowhere/nope.py", "NAME is one of brain_ddad"),
    ("../setup.cfg", "names no file"),
  ],
)
def test_what_is_no_file_is_one_sentence(given, says):
  with pytest.raises(UserError, match=says):
    shipped.configuration_file(given)


def test_a_function_is_called_by_its_name():
  made = shipped.call("data_builders.camelyon16.recipe", "Recipe", 4)
  assert (made.level, made.patch) == (4, 48)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """Stands for site-packages with nothing but our wheel."""
  tree = tmp_path_factory.mktemp("wheel") / "tree"
  tree.mkdir()
  for name in ("medad_jax", "configs", "data_builders", "benchmarks"):
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / name, tree / name, ignore=no_caches)
  for name in ("pyproject.toml", "setup.py", "requirements.txt", "README.md"):
    shutil.copy(ROOT / name, tree)
  shutil.copy(ROOT / "LICENSE", tree)
  build = "from setuptools import build_meta as b; print(b.build_wheel('.'))"
  done = subprocess.run(
    [sys.executable, "-c", build],
    cwd=tree,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  folder = tree.parent / "site-packages"
  with zipfile.ZipFile(tree / done.stdout.splitlines()[-1]) as wheel:
    wheel.extractall(folder)
  return folder


def run(installed, cwd, *args):
  return subprocess.run(
    [sys.executable, "-m", *args],
    cwd=cwd,
    capture_output=True,
    text=True,
    env=os.environ
    | {"PYTHONPATH": str(installed), "MEDAD_DATA_DIR": str(cwd / "data")},
    timeout=120,
    check=False,
  )


def test_a_wheel_has_one_top_level_package(installed):
  names = {path.name.split("-")[0] for path in installed.iterdir()}
  assert names == {"medad_jax"}
  for name in ("configs", "data_builders"):
    there = {
      path.relative_to(ROOT)
      for path in (ROOT / name).rglob("*")
      if path.is_file() and "__pycache__" not in path.parts
    }
    inside = installed / "medad_jax" / "_shipped"
    assert all((inside / path).is_file() for path in there)


def test_a_wheel_has_the_published_statistics_and_their_license(installed):
  for ending in ("npz", "txt"):
    name = f"vgg19_statistics.{ending}"
    assert (installed / "medad_jax" / "nets" / name).is_file()


def test_a_wheel_has_the_published_values(installed):
  ours = {path.name for path in (ROOT / "medad_jax/published").glob("*.csv")}
  there = installed / "medad_jax" / "published"
  assert {path.name for path in there.glob("*.csv")} == ours != set()


def test_an_installed_package_trains_with_its_own_files(installed, tmp_path):
  """Up to the data: no configuration is in this folder."""
  done = run(
    installed,
    tmp_path,
    "medad_jax.main",
    "--config=configs/phantom_ddad.py",
    "--config.data.name=nothing",
  )
  assert done.returncode == 2
  assert "there is no data set 'nothing'" in done.stderr
  assert "python -m medad_jax.build BUILDER" in done.stderr


def test_an_installed_package_builds_sets(installed, tmp_path):
  source = sources.make("folder", tmp_path / "source")
  done = run(
    installed, tmp_path, "medad_jax.build", "folder", f"--source={source}"
  )
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "data" / "folder").is_dir()
