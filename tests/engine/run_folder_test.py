"""Files that a run leaves in its folder, and what stops it there."""

import json
import shutil

import jax
import numpy as np
from PIL import Image
import pytest

from data_builders import build
from medad_jax.engine import config as configuration
from medad_jax.engine import experiment
from medad_jax.types import UserError
from tests.data_builders import sources


def config(data_dir, **changes):
  """An autoencoder that trains for a few steps."""
  made = configuration.defaults("ae")
  made["data"] |= {"name": "mine", "dir": str(data_dir), "image_size": 16}
  made["model"] |= {"width": 4, "latent": 3, "hidden": 8}
  made["train"] |= {"epochs": 1, "batch_size": 5}
  return made | changes


def build_set(data_dir, source):
  build.build(
    "folder", source=source, data_dir=data_dir, name="mine", overwrite=True
  )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A folder with the source, the built set and a finished run of it."""
  root = tmp_path_factory.mktemp("experiment")
  source = sources.make("folder", root / "source")
  build_set(root / "data", source)
  experiment.train_and_evaluate(config(root / "data"), root / "run")
  return root


@pytest.fixture
def copy(finished, undrawn, tmp_path):
  return shutil.copytree(finished, tmp_path / "copy")


def results(run):
  return json.loads((run / "results.json").read_text())


def test_the_results_tell_what_the_training_ran_on(finished):
  found = results(finished / "run")
  (training,) = found["trained"]
  assert training["devices"] == [d.device_kind for d in jax.devices()]
  assert training["meshes"].keys() == {"train"}
  assert found["evaluated"]["versions"] == training["versions"]
  page = (finished / "run" / "report.html").read_text()
  for what in (training, found["evaluated"]):
    assert what["time"] in page


def test_an_evaluation_elsewhere_keeps_what_the_training_ran_on(
  copy, monkeypatch
):
  before = results(copy / "run")["trained"]
  for start in json.loads((copy / "run" / "run.json").read_text())["starts"]:
    assert start == before[0]
  monkeypatch.setattr(
    experiment.environment, "_PACKAGES", ("jax",)
  )  # another machine
  experiment.evaluate_run(copy / "run", str(copy / "data"))
  after = results(copy / "run")
  assert after["trained"] == before
  assert after["evaluated"]["versions"].keys() != before[0]["versions"].keys()


def test_only_a_start_that_trains_is_recorded(copy):
  made = config(copy / "data")
  experiment.train_and_evaluate(made, copy / "run")
  assert len(results(copy / "run")["trained"]) == 1
  shutil.rmtree(copy / "run" / "checkpoints")
  experiment.train_and_evaluate(made, copy / "run")
  assert len(results(copy / "run")["trained"]) == 2


def test_a_set_that_was_built_anew_stops_training_and_evaluation(copy):
  before = (copy / "run" / "results.json").read_bytes()
  picture = next((copy / "source" / "test" / "normal").iterdir())
  pixels = np.asarray(Image.open(picture)).copy()
  pixels[0, 0] ^= 255
  Image.fromarray(pixels).save(picture)
  build_set(copy / "data", copy / "source")
  with pytest.raises(UserError, match="as many images, but others"):
    experiment.train_and_evaluate(config(copy / "data"), copy / "run")
  with pytest.raises(UserError, match="as many images, but others"):
    experiment.evaluate_run(copy / "run", str(copy / "data"))
  assert (copy / "run" / "results.json").read_bytes() == before


def test_a_damaged_end_is_one_sentence(copy, capfd):
  final = copy / "run" / "checkpoints" / "train" / "final"
  for path in final.rglob("*"):
    if path.is_file() and path.stat().st_size > 1000:
      path.write_bytes(path.read_bytes()[:-1] + b"?")
  with pytest.raises(UserError, match="final is damaged"):
    experiment.evaluate_run(copy / "run", str(copy / "data"))
  with pytest.raises(UserError, match="no checkpoint in .*train is sound"):
    experiment.train_and_evaluate(config(copy / "data"), copy / "run")
  assert "Traceback" not in capfd.readouterr().err


def test_other_sizes_in_the_configuration_are_one_sentence(copy):
  path = copy / "run" / "config.json"
  changed = json.loads(path.read_text())
  changed["model"]["width"] = 8
  path.write_text(json.dumps(changed))
  with pytest.raises(UserError, match="does not fit the configuration"):
    experiment.evaluate_run(copy / "run", str(copy / "data"))


def test_a_run_older_than_some_fields_is_evaluated_and_goes_on(copy, capfd):
  path, before = copy / "run" / "config.json", results(copy / "run")
  older = json.loads(path.read_text())
  del older["data"]["axis"], older["evaluation"]["prevalence"]
  path.write_text(json.dumps(older))
  experiment.evaluate_run(copy / "run", str(copy / "data"))
  assert results(copy / "run")["scores"] == before["scores"]
  assert capfd.readouterr().err.count("is older than data.axis='axial'") == 1
  experiment.train_and_evaluate(config(copy / "data"), copy / "run")
  assert results(copy / "run")["scores"] == before["scores"]
  assert json.loads(path.read_text())["data"]["axis"] == "axial"


def test_a_damaged_origin_of_weights_is_one_sentence_and_can_be_mended(copy):
  """A process that was killed while it wrote the file left it so."""
  path = copy / "run" / "weights.json"
  for text in ("", '{"vgg19": "off', "[]"):
    path.write_text(text)
    with pytest.raises(UserError, match="weights.json.*remove it"):
      experiment.evaluate_run(copy / "run", str(copy / "data"))
  path.unlink()
  experiment.train_and_evaluate(config(copy / "data"), copy / "run")
  assert json.loads(path.read_text()) == {}


@pytest.mark.parametrize(
  "name", ["config.json", "run.json", "metrics.jsonl", "weights.json"]
)
def test_no_file_of_a_run_ends_in_a_traceback(copy, name):
  path = copy / "run" / name
  path.write_bytes(path.read_bytes()[:-3] + b"\xff{\n")
  with pytest.raises(UserError, match=name):
    experiment.evaluate_run(copy / "run", str(copy / "data"))
