"""Every configuration describes a method, with fields that it has."""

import importlib
from pathlib import Path

import pytest

from configs import _ddad, reconstruction
from medad_jax.engine import config as configuration
from medad_jax.types import UserError

FILES = sorted(path.stem for path in Path("configs").glob("[!_]*.py"))
ARGUMENTS = {"reconstruction": [f"brain/{m}" for m in reconstruction.METHODS]}
ALL = [
  (name, argument)
  for name in FILES
  for argument in ARGUMENTS.get(name, _ddad.PUBLISHED)
]


def built(name, argument):
  config = importlib.import_module(f"configs.{name}").get_config(argument)
  plain = config.to_dict()
  configuration.check(plain)
  return config, configuration.build_method(plain)


@pytest.mark.parametrize(("name", "argument"), ALL)
def test_it_describes_a_method(name, argument):
  config, method = built(name, argument)
  doc = importlib.import_module(f"configs.{name}").__doc__
  assert f"--config=configs/{name}.py" in doc
  for phase in method.phases():
    assert phase.training.epochs >= 0
  assert config.seeds == 1


@pytest.mark.parametrize("argument", ["dae", "vae", "ganomaly", "ae_ssim"])
def test_ddad_takes_other_backbones(argument):
  _, method = built("brain_ddad", argument)
  assert method.phases()[0].members == 6


def test_reconstruction_follows_the_published_protocol():
  config, method = built("reconstruction", "brain/ae")
  training = method.training
  assert (training.epochs, training.batch_size) == (600, 64)
  assert (training.learning_rate, training.b1) == (1e-3, 0.9)
  assert not training.drop_last
  assert (method.hidden, method.latent) == (1024, 16)
  config, method = built("reconstruction", "rsna/dae")
  assert (config.data.image_size, method.training.batch_size) == (128, 16)
  assert method.training.epochs == 250 and not method.foreground
  config, method = built("reconstruction", "brats/dae")
  assert method.foreground
  config, _ = built("reconstruction", "c16/ae")
  assert config.data.channels == 3


@pytest.mark.parametrize(
  ("name", "module", "headline"),
  [("ae-grad", "ae", "grad_rec"), ("vae-combi", "vae", "combi")],
)
def test_scores_of_one_training_differ_in_the_headline(name, module, headline):
  config, method = built("reconstruction", f"brain/{name}")
  other, _ = built("reconstruction", f"brain/{module}")
  assert method.score_names[-1] == headline
  differ = {
    key
    for key, value in configuration.flatten(config.to_dict()).items()
    if configuration.flatten(other.to_dict())[key] != value
  }
  assert differ == {"model.headline"}


@pytest.mark.parametrize("argument", ["brain/ae", "brain/vae"])
def test_an_impossible_headline_ends_at_once(argument):
  config = reconstruction.get_config(argument).to_dict()
  config["model"]["headline"] = "kl"
  with pytest.raises(UserError, match="'kl' is no score.*grad_rec"):
    configuration.build_method(config)
