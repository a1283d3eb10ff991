"""Configurations: every file builds, errors are sentences."""

import importlib
from pathlib import Path

import pytest

from medad_jax.engine import config as configuration
from medad_jax.methods import aeu, memae
from medad_jax.types import Training, UserError

FILES = sorted(
  p.stem for p in Path("configs").glob("*.py") if not p.stem.startswith("_")
)
BACKBONES = ("ae", "memae", "aeu")


def load(name="rsna_ddad", *args):
  return importlib.import_module(f"configs.{name}").get_config(*args).to_dict()


@pytest.mark.parametrize("name", FILES)
def test_every_configuration_builds(name):
  config = load(name)
  configuration.check(config)
  method = configuration.build_method(config)
  assert method.phases()
  assert len(set(method.score_names)) == len(method.score_names)


# Spec of the published runs, section 5: extra images and their abnormal share.
@pytest.mark.parametrize(
  ("name", "extra"),
  [("rsna", 4000), ("vin", 4000), ("brain", 1000), ("lag", 1500)],
)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_published_twelve(name, extra, backbone):
  config = load(f"{name}_ddad", backbone)
  assert config["data"]["name"] == name
  assert config["data"]["extra"] == extra
  assert config["data"]["anomaly_ratio"] == 0.6
  assert config["data"]["image_size"] == 64
  method = configuration.build_method(config)
  ensemble, refine = method.phases()
  assert type(method.backbone).__module__ == f"medad_jax.methods.{backbone}"
  assert ensemble.pools == ("mixed",) * 3 + ("normal",) * 3
  assert ensemble.training == Training(250, 64, 5e-4, b1=0.5)
  assert refine.training == Training(100, 8, 1e-4, b1=0.5, weight_decay=1e-4)
  assert refine.name == "refine_dual"


def test_a_backbone_takes_its_own_fields():
  config = load("rsna_ddad", "memae")
  config["model"]["slots"] = 7
  method = configuration.build_method(config)
  assert isinstance(method.backbone, memae.Method)
  assert method.backbone.slots == 7
  assert isinstance(
    configuration.build_method(load("rsna_ddad", "aeu")).backbone, aeu.Method
  )


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("ensemble.size", 1, "ensemble.size=1"),
    ("data.image_size", 60, "multiple of 16"),
    ("data.image_size", 0, "multiple of 16"),
    ("method", "dadd", r"did you mean 'ddad'\?"),
    ("backbone", "vea", "not a method"),
    ("model.widht", 3, r"config.model.widht.*did you mean 'width'\?"),
    ("train.epoch", 3, "did you mean 'epochs'"),
    ("refine.inputs", ("both",), "dual, intra"),
    ("steps_per_call", 0, "steps_per_call=0"),
  ],
)
def test_an_impossible_value_is_one_sentence(path, value, message):
  config = load()
  at = config
  *parents, last = path.split(".")
  for name in parents:
    at = at[name]
  at[last] = value
  with pytest.raises(UserError, match=message) as caught:
    configuration.check(config)
    configuration.build_method(config)
  assert "\n" not in str(caught.value)
