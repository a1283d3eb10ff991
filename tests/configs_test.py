"""Every configuration describes a method, with fields that it has."""

import dataclasses
import importlib
from pathlib import Path

import pytest

from configs import (
  _ddad,
  deep_geo,
  deep_if,
  dpa,
  maddr,
  piad,
  reconstruction,
  ssl,
)
from medad_jax.augment.nsa import synthesis
from medad_jax.engine import config as configuration
from medad_jax.training import Length, Optimizer, Schedule
from medad_jax.types import Axis, UserError

FILES = sorted(path.stem for path in Path("configs").glob("[!_]*.py"))
ARGUMENTS = {
  "deep_geo": [*deep_geo.arguments(), "phantom", "brain/reproduce"],
  "deep_if": [*deep_if.arguments(), "phantom", "brain/reproduce"],
  "dpa": [*dpa.arguments(), "phantom/wo_pg", "phantom/pg", "brain/wo_pg"],
  "fanogan": ["phantom", "brain"],
  "maddr": [*maddr.arguments("phantom"), *maddr.arguments("covid_ct,brain")],
  "piad": [*piad.arguments(), "phantom", "brain/reproduce"],
  "ra": ["phantom", "ixi", "fastmri", "brain"],
  "reconstruction": [f"brain/{m}" for m in reconstruction.METHODS],
  "ssl": [f"{d}/{m}" for d in ("brain", "phantom") for m in ssl.METHODS],
}
ALL = [
  (name, argument)
  for name in FILES
  for argument in ARGUMENTS.get(name, _ddad.PUBLISHED)
]


def built(name, argument):
  config = importlib.import_module(f"configs.{name}").get_config(argument)
  plain = config.to_dict()
  configuration.settings_of(plain)
  return config, configuration.build_method(plain)


@pytest.mark.parametrize(("name", "argument"), ALL)
def test_it_describes_a_method(name, argument):
  config, method = built(name, argument)
  doc = importlib.import_module(f"configs.{name}").__doc__
  assert f"--config=configs/{name}.py" in doc
  assert len(method.phases()) > 0
  assert config.seeds == 1


@pytest.mark.parametrize("argument", ["dae", "vae", "ganomaly", "ae_ssim"])
def test_ddad_takes_other_backbones(argument):
  _, method = built("brain_ddad", argument)
  assert method.phases()[0].members == 6


def test_reconstruction_follows_the_published_protocol():
  config, method = built("reconstruction", "brain/ae")
  assert method.length == Length(600, 64, drop_last=False)
  assert method.optimizer == Optimizer(learning_rate=1e-3, b1=0.9)
  assert (method.hidden, method.latent) == (1024, 16)
  config, method = built("reconstruction", "rsna/dae")
  assert (config.data.image_size, method.length.batch_size) == (128, 16)
  assert method.length.epochs == 250 and not method.foreground
  config, method = built("reconstruction", "brats/dae")
  assert method.foreground
  config, method = built("reconstruction", "c16/memae")
  assert config.data.channels == 3 and method.threshold == 0.0025


def test_one_stage_follows_the_published_protocol():
  config, method = built("ssl", "brain/nsa")
  assert method.length == Length(250, 64, drop_last=False)
  schedule = Schedule("cosine", final_rate=1e-6)
  assert method.optimizer == Optimizer(learning_rate=1e-3, schedule=schedule)
  assert (config.data.image_size, config.data.preparation) == (256, "crop")
  assert (config.data.channels, config.select) == (1, "last")
  assert method.recipe == synthesis.NSA
  assert built("ssl", "vin/fpi")[1].length.epochs == 400


def test_two_stages_follow_the_published_protocol():
  config, method = built("ssl", "rsna/cutpaste-2s-3way")
  assert method.length == Length(100, 64, pass_rows=3000, epoch_steps=256)
  assert method.optimizer == Optimizer(
    algorithm="sgd",
    learning_rate=0.03,
    momentum=0.9,
    weight_decay=3e-5,
    schedule=Schedule("cosine", final_rate=0.0, lag=1),
  )
  assert (config.data.image_size, config.data.channels) == (224, 3)
  assert method.net(Axis()).classes == 3
  assert built("ssl", "rsna/cutpaste-2s")[1].net(Axis()).classes == 2


@pytest.mark.parametrize("argument", ["brain/cutpaste_2s", "phantom/ae_l1"])
def test_a_method_may_be_named_as_its_module(argument):
  name = "ssl" if "cutpaste" in argument else "reconstruction"
  config, _ = built(name, argument)
  assert config == built(name, argument.replace("_", "-"))[0]


@pytest.mark.parametrize(
  ("name", "method"), [("reconstruction", "nsa"), ("ssl", "vae")]
)
def test_a_method_of_another_file_has_its_own_defaults(name, method):
  config, _ = built(name, f"brain/{method}")
  named = {"data.name": "brain"}
  default = configuration.with_hyper(configuration.defaults(method), named)
  assert config.to_dict() == default


def test_a_recipe_may_be_changed_in_part():
  config, _ = built("ssl", "brain/nsa")
  config.recipe.label = "raw"
  recipe = configuration.build_method(config.to_dict()).recipe
  assert recipe == dataclasses.replace(synthesis.NSA, label="raw")


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


@pytest.mark.parametrize("backbone", _ddad.PUBLISHED)
def test_a_file_says_only_what_differs(backbone):
  """The published DDAD-ASR is the dataclasses' defaults."""
  config, _ = built("rsna_ddad", backbone)
  default = configuration.defaults("ddad", backbone)
  changed = {"data.name": "rsna", "data.extra": 4000}
  assert config.to_dict() == configuration.with_hyper(default, changed)


def test_deep_geo_follows_the_published_protocols():
  config, method = built("deep_geo", "cifar10/with_cv/3")
  assert (config.data.name, config.data.channels) == ("cifar10:3", 3)
  assert method.length == Length(4, 128, drop_last=False)
  assert method.optimizer == Optimizer(
    "tf_adam", 1e-3, eps=1e-7, weight_decay=5e-4
  )
  assert (method.blocks, method.width, method.translation) == (1, 4, 8)
  _, method = built("deep_geo", "nih_ap/with_cv")
  assert (method.blocks, method.width, method.translation) == (2, 8, 16)
  assert method.length.epochs == 2
  config, _ = built("deep_geo", "nih_pa/with_cv")
  assert (
    config.data.preparation == "gray,resize:300,crop:224,equalize,resize:64"
  )
  assert built("deep_geo", "svhn/with_cv/7")[0].data.channels == 1
  assert built("deep_geo", "svhn/reproduce/7")[0].data.channels == 3


def test_deep_if_follows_the_published_protocols():
  assert built("deep_if", "cifar10/with_cv/2")[1].layer == "conv2d_7b"
  assert built("deep_if", "cifar10/reproduce/2")[1].layer == "concat"
  assert built("deep_if", "svhn/with_cv/6")[1].layer == "mixed_6a"
  assert built("deep_if", "svhn/with_cv/3")[0].data.channels == 1
  _, method = built("deep_if", "phantom")
  assert method.rows <= 200


@pytest.mark.parametrize(
  ("name", "argument"),
  [
    *(("dpa", argument) for argument in ("cifar10/wo_pg/10", "cifar10/wo_pg")),
    *(
      ("dpa", argument) for argument in ("nih_ap/with_L1", "brain", "brain/pg")
    ),
    ("dpa", "nih_ap/wo_pg_with_L1/0.5"),
    *(("piad", argument) for argument in ("cifar10/with_cv/10", "brain")),
    ("piad", "svhn/reproduce"),
    ("deep_geo", "cifar10/with_cv/10"),
    ("deep_geo", "nih_ap/pg"),
    ("deep_if", "svhn/reproduce"),
    ("deep_if", "camelyon16/with_cv"),
  ],
)
def test_a_class_or_experiment_that_does_not_exist_is_one_sentence(
  name, argument
):
  with pytest.raises(UserError, match=f"no configuration '{argument}'"):
    built(name, argument)


def test_dpa_follows_the_published_experiments():
  config, method = built("dpa", "nih_ap/pg")
  assert method.growth.sides == (8, 16, 32, 64)
  assert method.growth.layers == ("relu1_2", "relu2_2", "relu3_2")
  assert [phase.name for phase in method.phases()][-2:] == ["trns64", "train"]
  assert method.phases()[-1].length.steps == 7001
  assert (
    config.data.preparation == "gray,resize:300,crop:224,equalize,resize:64"
  )
  config, method = built("dpa", "nih_pa/wo_pg_with_adversarial_L1/0.1")
  assert (method.l1_weight, method.adversarial_weight) == (0.1, 0.1)
  assert method.optimizer == Optimizer(learning_rate=2e-4)
  assert config.data.preparation == "gray,resize:300,crop:224,resize:64"
  _, method = built("dpa", "nih_subset/wo_pg_with_L1/1")
  assert method.layers == ("relu3_2", "relu4_2")
  config, method = built("dpa", "camelyon16/wo_pg_L1_unsupervised")
  assert (method.perceptual_weight, method.latent_side) == (0.0, 16)
  assert config.data.augment == "crop,flip,flip_vertical"
  config, method = built("dpa", "cifar10/wo_pg/3")
  assert config.data.name == "cifar10:3" and config.data.channels == 3
  assert method.channels == (32, 64, 128, 256) and method.latent == 256


def test_piad_follows_the_published_experiments():
  _, method = built("piad", "cifar10/with_cv/1")
  assert method.channels == method.critic_channels == (32, 64, 128, 128, 128)
  assert method.latent_critic_channels == (512, 512)
  assert method.layers == ("relu3_2",) and method.length.steps == 80_000
  config, method = built("piad", "svhn/with_cv/3")
  assert config.data.channels == 1 and method.latent == 256
  config, method = built("piad", "svhn/reproduce/3")
  assert config.data.channels == 3 and method.length.steps == 100_000
  assert method.critic == Optimizer(learning_rate=5e-4, b1=0.5, b2=0.99)
  _, method = built("piad", "nih_ap/with_cv")
  assert method.layers == ("relu3_2", "relu4_2")


def test_ra_follows_the_published_protocol():
  config, method = built("ra", "fastmri")
  assert config.data.name == "fastmri,ixi@train+val+test"
  assert (config.data.image_size, config.data.channels) == (128, 1)
  assert method.length == Length(1500, 8)
  assert method.optimizer == Optimizer(learning_rate=5e-5)
  assert method.widths == (64, 128, 256, 512, 512) and method.latent == 128
  assert config.model.weights == "imported" and config.select == "last"
