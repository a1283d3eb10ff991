"""Configurations: every file builds, errors are sentences."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from medad_jax.engine import config as configuration
from medad_jax.engine import fields
from medad_jax.methods import aeu, memae
from medad_jax.training import Length, Optimizer
from medad_jax.types import UserError

FILES = sorted(
  p.stem for p in Path("configs").glob("*.py") if not p.stem.startswith("_")
)
BACKBONES = ("ae", "memae", "aeu")


def load(name="rsna_ddad", *args):
  return importlib.import_module(f"configs.{name}").get_config(*args).to_dict()


@pytest.mark.parametrize("name", FILES)
def test_every_configuration_builds(name):
  config = load(name)
  configuration.settings_of(config)
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
  pools = [pool.name for pool in ensemble.pools]
  assert pools == ["mixed"] * 3 + ["normal"] * 3
  assert ensemble.length == Length(250, 64)
  assert ensemble.step.optimizer == Optimizer(learning_rate=5e-4, b1=0.5)
  assert refine.length == Length(100, 8)
  assert refine.step.optimizer == Optimizer(
    learning_rate=1e-4, b1=0.5, weight_decay=1e-4
  )
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
    ("ensemble.size", 1, "ensemble.size=1.*from 2"),
    ("data.image_size", 60, "multiple of 16"),
    ("data.stored_size", 20, "smaller than data.image_size=64"),
    ("data.preparation", "crop:99", "end it with resize:64"),
    ("data.augment", "crop", "set data.stored_size to more"),
    ("data.image_size", 1_600_000, "from 16 to 8192"),
    ("data.channels", 2, "one of 1, 3"),
    ("data.anomaly_ratio", float("nan"), "from 0 to 1"),
    ("seed", -1, "seed=-1 .*from 0"),
    ("seed", 10**400, "thousands of digits|1000000"),
    ("mesh.member", -1, "mesh.member=-1 .*from 1"),
    ("method", "dadd", r"did you mean 'ddad'\?"),
    ("method", ["ddad"], "not a method"),
    ("backbone", "vea", "not a method"),
    ("backbone", "ddad", "cannot be the backbone of ddad"),
    ("backbone", "nsa", "choose one of ae, "),
    ("backbone", None, "without config.backbone"),
    ("model.widht", 3, r"config.model.widht.*did you mean 'width'\?"),
    ("train.epoch", 3, "did you mean 'epochs'"),
    ("train.kind", "step", "did you mean 'train.schedule.kind'"),
    ("train.epochs", -3, "train.epochs=-3"),
    ("train.batch_size", True, "train.batch_size=True"),
    ("train.schedule.at", (10, 0), r"schedule.at=\(10, 0\)"),
    ("refine.inputs", ("both",), "'dual', 'intra'"),
    ("refine.inputs", ("dual", "dual"), "each input once"),
    ("steps_per_call", 0, "steps_per_call=0"),
  ],
)
def test_an_impossible_value_is_one_sentence(path, value, message):
  config = load()
  put(config, path, value)
  with pytest.raises(UserError, match=message) as caught:
    configuration.build_method(config)
    configuration.settings_of(config)
  assert "\n" not in str(caught.value)


def put(config, path, value):
  *parents, last = path.split(".")
  for name in parents:
    config = config[name]
  config[last] = value


def test_all_impossible_values_are_named_at_once():
  config = load()
  put(config, "train.epochs", -1)
  put(config, "refine.width", 0)
  with pytest.raises(UserError, match=r"train.epochs=-1.*refine.width=0"):
    configuration.build_method(config)


def test_the_last_seed_is_a_seed():
  config = load() | {"seed": 2**31 - 2, "seeds": 2}
  assert configuration.settings_of(config).seeds == 2
  with pytest.raises(UserError, match="the last seed is 2147483648"):
    configuration.settings_of(config | {"seeds": 3})


@pytest.mark.parametrize("method", ["ae", "nsa"])
def test_sections_of_another_method_are_not_ignored(method):
  config = load() | {"method": method}
  with pytest.raises(UserError, match=f"{method} has no backbone.*:DATASET/"):
    configuration.build_method(config)
  del config["backbone"]
  with pytest.raises(UserError, match=f"config.*{method}, but of ddad"):
    configuration.build_method(config)


@pytest.mark.parametrize(
  "method", sorted(set(fields.method_names()) - {"ddad"})
)
def test_only_ddad_has_unlabelled_images(method):
  assert "extra" not in configuration.defaults(method)["data"]


@pytest.mark.parametrize(
  ("backbone", "field"),
  [("vae", "headline"), ("ae_ssim", "registered"), ("ae", "members")],
)
def test_a_backbone_has_no_fields_that_nobody_reads(backbone, field):
  config = load("rsna_ddad", backbone)
  config["model"][field] = configuration.defaults(backbone)["model"][field]
  with pytest.raises(UserError, match=f"config.model.{field} is"):
    configuration.build_method(config)


def test_another_backbone_needs_its_own_fields():
  config = load() | {"backbone": "memae"}
  with pytest.raises(UserError, match=r"model.slots.*missing.*memae"):
    configuration.build_method(config)


def test_numbers_of_a_trial_may_be_traced():
  config = load()

  @jax.jit
  def rate(value):
    trial = configuration.with_hyper(config, {"train.learning_rate": value})
    method = configuration.build_method(trial)
    return 2 * method.optimizer.learning_rate

  assert rate(0.25) == 0.5
  assert config["train"]["learning_rate"] == 5e-4
  with pytest.raises(UserError, match="train.lr is not a field"):
    configuration.with_hyper(config, {"train.lr": 1.0})


def test_numbers_that_decide_shapes_may_not_be_traced():
  config = configuration.defaults("ceae")
  hole = {"model.hole": jnp.float32(0.1)}
  with pytest.raises(UserError, match=r"model.hole="):
    configuration.build_method(configuration.with_hyper(config, hole))
