"""DPA and PIAD in the engine: growing, critics, meshes, and what users see."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from medad_jax.engine import members
from medad_jax.methods import _growth, dpa, piad
from medad_jax.training import Length, Optimizer
from medad_jax.types import UserError
from tests import tiny
from tests.engine.seams_test import leaves, run
from tests.killed import killed_and_resumed

SMALL = {
  "channels": (4, 4, 4),
  "latent": 3,
  "layers": ("relu1_2",),
  "weights": "random",
  "length": Length(steps=3, batch_size=4),
}
GROWING = dpa.Method(
  growth=_growth.Growth((8, 16), ("relu1_2",), 4, 3),
  optimizer=Optimizer(learning_rate=1e-3),
  **SMALL,
)
ADVERSARIAL = dpa.Method(
  adversarial_weight=0.1, l1_weight=1.0, critic_batches=1, **SMALL
)
PIAD = piad.Method(
  critic_channels=(4, 4, 4),
  latent_critic_channels=(8,),
  critic_batches=1,
  balance=piad.Balance(every=2),
  **SMALL,
)


def close(found, wanted, rtol=2e-3, atol=1e-5):
  for x, y in zip(leaves(found), leaves(wanted), strict=True):
    np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def test_a_run_killed_inside_a_transition_goes_on_bit_for_bit(tmp_path):
  train = functools.partial(run, stages=GROWING.phases())
  whole = train(tmp_path / "whole")
  # Calls of two steps: two of the first stage, then one of the transition.
  again = killed_and_resumed(train, tmp_path / "cut", 3)
  for name in ("stab8", "trns16", "train"):
    jax.tree.map(
      np.testing.assert_array_equal, leaves(again[name]), leaves(whole[name])
    )


def test_members_that_grow_have_predecessors_of_their_own(tmp_path):
  none = Length(steps=0, batch_size=4)
  two = dataclasses.replace(GROWING, members=2, length=none)
  states = run(tmp_path, two.phases())
  faded, last = (states[name].params["net"] for name in ("trns16", "train"))
  for part, modules in last.items():
    assert modules.keys() < faded[part].keys()
    kept = {name: faded[part][name] for name in modules}
    jax.tree.map(np.testing.assert_array_equal, modules, kept)
  kernel = last["encoder"]["preprocess_16"]["kernel"]
  assert not np.allclose(kernel[0], kernel[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", [ADVERSARIAL, PIAD], ids=["dpa", "piad"])
def test_critics_agree_on_any_mesh_and_resume(method, tmp_path):
  train = functools.partial(run, stages=method.phases())
  one = train(tmp_path / "one")["train"]
  many = train(tmp_path / "many", devices=tiny.devices(1, 2))["train"]
  close(many, one)
  again = killed_and_resumed(train, tmp_path / "cut", 1)["train"]
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(one))
  if method is PIAD:
    # Three steps, of which the second is measured.
    assert one.extra["balance"]["count"].tolist() == [1]
    assert one.extra["balance"]["encoder"]["weight"] != 1


@pytest.mark.parametrize("method", [dpa.Method(), piad.Method()])
def test_missing_weights_name_the_file_and_the_command(
  method, monkeypatch, tmp_path
):
  monkeypatch.setenv("MEDAD_CACHE_DIR", str(tmp_path))
  features = method.phases()[0]
  with pytest.raises(
    UserError, match="vgg19-dcbb9e9d.pth.*medad_jax.weights vgg19 --source"
  ):
    members.init_states(features, tiny.TRIALS, tiny.SHAPE)


def test_pixels_alone_need_no_weights():
  stages = dpa.Method(perceptual_weight=0.0, l1_weight=1.0).phases()
  assert [stage.name for stage in stages] == ["train"]
  assert stages[0].reads == ()


@pytest.mark.parametrize(
  ("change", "says"),
  [
    ({"perceptual_weight": 0.0}, "without any distance"),
    ({"layers": ()}, "layers=.* name one or more"),
    (
      {"growth": GROWING.growth, "adversarial_weight": 1.0},
      "its critic would not",
    ),
  ],
)
def test_impossible_fields_are_one_sentence(change, says):
  with pytest.raises(UserError, match=says):
    dataclasses.replace(dpa.Method(), **change)


@pytest.mark.parametrize(
  ("sides", "layers", "says"),
  [
    ((8, 32), ("relu1_2",), "each twice the one before"),
    ((16,), (), "two or more"),
    ((8, 16), (), "0 growth.layers were given with 2 growth.sides"),
  ],
)
def test_impossible_growth_is_one_sentence(sides, layers, says):
  with pytest.raises(UserError, match=says):
    _growth.Growth(sides, layers)


@pytest.mark.parametrize(
  ("change", "shape", "says"),
  [
    ({}, (48, 48, 1), "images of 48x48.*4 or that times a power"),
    ({}, (64, 32, 1), "their sides must be equal"),
    ({"channels": (4, 4)}, (16, 16, 1), "2 channels .* which take 3"),
    ({"latent_side": 8}, (16, 16, 1), "latent=3 .* make both the same"),
    ({"growth": GROWING.growth}, (32, 32, 1), "let the last one be"),
  ],
)
def test_images_that_do_not_suit_are_one_sentence(change, shape, says):
  method = dpa.Method(**(SMALL | change))
  with pytest.raises(UserError, match=says):
    jax.eval_shape(lambda: method.phases()[-1].init(jax.random.key(0), shape))


def test_the_fixed_mode_scores_an_adversarial_loss_by_features_alone():
  image = np.zeros((2, 16, 16, 1), np.float32)
  zero = jax.numpy.asarray(image)

  def scored(mode, change):
    method = dataclasses.replace(ADVERSARIAL, mode=mode)
    stage = method.phases()[0]
    params, _ = stage.init(jax.random.key(0), tiny.SHAPE)
    state = members.TrainState(0, params, {}, {}, None)
    return float(jax.numpy.mean(method.map_of(state, zero, zero + change)))

  reference, fixed = scored("reference", 0.5), scored("fixed", 0.5)
  assert reference == pytest.approx(fixed + 0.5, rel=1e-5)
