"""Files of PyTorch become a run's folder that is evaluated and exported."""

import json
import os
from pathlib import Path
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from configs import _ddad, reconstruction
from data_builders import build
from medad_jax.engine import config as configuration
from medad_jax.engine import experiment, importing, members, torch_states
from medad_jax.engine.trained import Trained
from medad_jax.report.results import Results
from medad_jax.types import UserError
from medad_jax.weights import tensor_file
from tests.data_builders import sources

ROOT = Path(__file__).parents[2]
SIZES = {
  "model.width": 4,
  "model.latent": 3,
  "model.hidden": 8,
  "train.batch_size": 4,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data")
  source = sources.make("folder", folder / "source")
  build.build("folder", source=source, data_dir=folder, name="mine")
  return folder


def config_of(start, data_dir, **changes):
  common = {"data.dir": str(data_dir), "data.image_size": 16, **SIZES}
  return configuration.with_hyper(start.to_dict(), {**common, **changes})


@pytest.fixture(scope="module")
def ddad(data_dir):
  start = _ddad.published("ae", "mine", extra=0)
  changes = {"ensemble.size": 2, "refine.width": 4, "refine.batch_size": 4}
  return config_of(start, data_dir, **changes)


@pytest.fixture(scope="module")
def ae(data_dir):
  return config_of(reconstruction.get_config("mine/ae"), data_dir)


def written(config, folder, suffix=".pth"):
  """Files of random numbers for a configuration, by flag; their content."""
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  files = method.files(settings.data.shape)
  slots = torch_states.slots(files, method, members.seeds(0, settings.seeds))
  rng, given, states = np.random.default_rng(0), {}, {}
  for slot in slots:
    flat = {
      path: rng.uniform(0.1, 0.3, (slot.row + 1, *leaf.shape)).astype("float32")
      for path, leaf in importing._shapes(settings, method).items()
    }
    state = torch_states.to_torch(slot, flat, None)
    for i, name in enumerate(k for k in state if k.endswith("tracked")):
      state[name] = np.asarray(i + slot.row, np.int64)
    path = folder / Path(slot.file.at(slot.index)).with_suffix(suffix)
    tensor_file.write(path, state)
    given.setdefault(slot.file.flag, []).append(path)
    states[slot.file.at(slot.index)] = state
  return given, states


def same(path, wanted):
  found = {name: x.read() for name, x in tensor_file.read(path).items()}
  assert found.keys() == wanted.keys()
  for name, value in wanted.items():
    np.testing.assert_array_equal(found[name], value, strict=True)


@pytest.fixture(scope="module")
def run(ddad, tmp_path_factory):
  """An imported run, its files by flag, and what they hold."""
  folder = tmp_path_factory.mktemp("import")
  given, states = written(ddad, folder / "given")
  importing.import_files(ddad, given, folder / "run")
  return folder / "run", given, states


def test_an_imported_run_is_evaluated_at_once(run):
  workdir, _, _ = run
  found = experiment.evaluate_run(workdir)
  assert list(found.main.scores)[-1] == "r_dual"
  assert Results.load(workdir / "results.json") == found
  (start,) = found.trained
  assert "0.pth" in start["imported"]["--udm 0"]
  assert "imported" in (workdir / "report.html").read_text()


def test_a_round_trip_is_exact(run, tmp_path):
  workdir, _, states = run
  for path in importing.export(workdir, tmp_path):
    same(path, states[path.relative_to(tmp_path).as_posix()])
  for name in states:
    other = (tmp_path / name).with_suffix(".safetensors")
    assert not other.exists()
  importing.export(workdir, tmp_path, ".safetensors")
  same(tmp_path / "a/0.safetensors", states["a/0.pth"])


def test_the_same_import_again_changes_nothing(run, ddad):
  workdir, given, _ = run
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob("final/*")}
  importing.import_files(ddad, given, workdir)
  after = {p: p.stat().st_mtime_ns for p in workdir.rglob("final/*")}
  assert before and before == after


def test_other_files_do_not_go_into_a_run(run, ddad, tmp_path):
  workdir, given, _ = run
  swapped = {**given, "udm": given["udm"][::-1]}
  with pytest.raises(UserError, match="not imported from these files"):
    importing.import_files(ddad, swapped, workdir)


def test_what_was_imported_is_not_taken_for_trained(run, ddad, tmp_path):
  """Another run must not reuse it as members of the same configuration."""
  workdir, _, _ = run
  copy = shutil.copytree(workdir, tmp_path / "copy")
  (copy / "imported.json").unlink()  # as if it were trained
  experiment.complete(ddad, copy, lambda folder: None)
  hashes = [
    json.loads((folder / "checkpoints/ensemble.origin.json").read_text())
    for folder in (workdir, copy)
  ]
  assert hashes[0]["common"] != hashes[1]["common"]
  assert hashes[0]["members"] == hashes[1]["members"]


def test_without_refinement_the_run_can_be_trained_on(ddad, tmp_path):
  given, _ = written(ddad, tmp_path / "given")
  del given["refine"]
  importing.import_files(ddad, given, tmp_path / "run")
  model = Trained.load(tmp_path / "run")
  assert model.config["until"] == "ensemble"
  images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
  assert {"rec", "inter", "intra"} <= model.score(images).scores.image.keys()
  # The UDM alone is no run.
  del given["ndm"]
  with pytest.raises(UserError, match="2 of 4 member.*'ensemble'"):
    importing.import_files(ddad, given, tmp_path / "half")
  assert not (tmp_path / "half").exists()


def cut(path):
  path.write_bytes(path.read_bytes()[:-200])


class _Evil:
  def __reduce__(self):
    return os.system, ("touch /tmp/medad_jax_was_here",)


def evil(path):
  path.write_bytes(pickle.dumps({"x": _Evil()}, protocol=2))


def text(path):
  path.write_text("epoch 3: loss 0.2\n")


def empty(path):
  path.write_bytes(b"")


@pytest.mark.parametrize(
  ("spoil", "says"),
  [
    (cut, "damaged or incomplete"),
    (evil, "holds more than tensors.*could run code"),
    (text, "neither a PyTorch nor a safetensors file"),
    (empty, "neither a PyTorch nor a safetensors file"),
    (Path.unlink, "cannot be read"),
  ],
)
def test_a_bad_file_is_one_sentence(ae, spoil, says, tmp_path):
  given, _ = written(ae, tmp_path / "given")
  spoil(given["checkpoint"][0])
  with pytest.raises(UserError, match=says) as caught:
    importing.import_files(ae, given, tmp_path / "run")
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()
  assert not Path("/tmp/medad_jax_was_here").exists()


def test_the_command_ends_with_status_2_and_one_line(ae, data_dir, tmp_path):
  given, _ = written(ae, tmp_path / "given")
  (path,) = given["checkpoint"]
  fields = {"data.dir": data_dir, "data.image_size": 16}  # other sizes
  done = subprocess.run(
    [
      *(sys.executable, "-m", "medad_jax.import_torch"),
      "--config=configs/reconstruction.py:mine/ae",
      *(f"--config.{name}={value}" for name, value in fields.items()),
      *(f"--checkpoint={path}", f"--workdir={tmp_path / 'run'}"),
    ],
    check=False,
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith("medad_jax: ") and "does not fit ae" in line
  assert (
    "en_block1.model.0.weight (4, 1, 4, 4) instead of (16, 1, 4, 4)" in line
  )
