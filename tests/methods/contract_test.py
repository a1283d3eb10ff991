"""What every method keeps: the test walks the folder, so a new one is in it."""

import functools
from pathlib import Path
import tempfile

import jax
import numpy as np
import pytest

from medad_jax.engine import checkpoint, fit, members, parallel, scorer, train
from medad_jax.engine import config as configuration
from medad_jax.types import Fit, Method, Phase, Scores
from tests import tiny

METHODS = configuration.method_names()
# What `config.model` holds: small nets; another method's own fields.
NET = {"width": 4, "latent": 3, "hidden": 8}
MODEL: dict[str, dict] = {
  "dae": {"width": 4, "levels": 3},
  "ae_perceptual": NET | {"weights": "random", "layer": "relu1_1"},
  # 16x16 images leave one number a channel, which has no statistics.
  "ganomaly": NET | {"own_statistics": False},
  **dict.fromkeys(("cutpaste", "fpi", "pii", "nsa"), {"width": 4}),
  **dict.fromkeys(("cutpaste_2s", "anatpaste"), {"width": 4}),
  "resnet18_imagenet": {"weights": "random"},
}
# Patches and nets that halve often need more room.
SHAPES = {
  **dict.fromkeys(("cutpaste", "fpi", "pii", "nsa"), (64, 64, 1)),
  **dict.fromkeys(("cutpaste_2s", "anatpaste"), (32, 32, 3)),
  "resnet18_imagenet": (32, 32, 3),
}


@functools.cache
def build(name: str) -> Method:
  return configuration.build_method(
    {
      "method": name,
      "backbone": "ae",
      "model": MODEL.get(name, NET),
      "ensemble": {"size": 2},
      "train": {"epochs": 1, "batch_size": 8, "learning_rate": rate(name)},
      "refine": {
        "inputs": ("dual", "intra"),
        "width": 4,
        "epochs": 1,
        "batch_size": 8,
      },
    }
  )


@functools.cache
def trained(name: str, mesh=(1, 1), fixed: bool = False):
  """Final states by phase, and each phase's losses [t, k].

  With `fixed` every phase takes 12 steps on its first batch.
  """
  calls = 4 if fixed else 1
  states, losses = {}, {}
  for phase in build(name).phases():
    if isinstance(phase, Fit):
      with tempfile.TemporaryDirectory() as folder:
        settings = tiny.run(Path(folder), tiny.feed(shape(name)))
        states[phase.name] = fit.estimate(phase, settings, states)
      continue
    if not phase.training.epochs:  # nothing to train, as pretrained weights
      states[phase.name] = start(name, phase).replace(opt={})
      continue
    at = layout(phase, mesh)
    order = train.make_order(phase, tiny.pools(), (0,))
    who = members.of_phase(phase, (0,))
    live = range(phase.members)
    places = train.make_places(who, order.epoch_steps(), live)
    rows = order.rows(0, 3, live)
    if not phase.sources:
      del rows["source"]
    if fixed:
      rows = {k: v[:1].repeat(3, 0) for k, v in rows.items()}
    call = program(name, phase.name, mesh)
    state, found = at.put(start(name, phase), parallel.MEMBER), []
    for _ in range(calls):
      state, metrics = call(
        state,
        at.put(places, parallel.MEMBER),
        at.put(rows, parallel.FEED),
        at.put(states, parallel.WHOLE),
        at.put(feed(name, phase).constant, parallel.WHOLE),
      )
      found.append(np.asarray(metrics["loss"]))
    states[phase.name] = jax.device_get(state.replace(opt={}))
    losses[phase.name] = np.concatenate(found)
  return states, losses


@functools.cache
def program(name: str, phase_name: str, mesh):
  """The compiled steps of a phase, once for all tests."""
  phase = next(p for p in build(name).phases() if p.name == phase_name)
  return train.make_call(phase, feed(name, phase), layout(phase, mesh))


def layout(phase: Phase, mesh) -> parallel.Layout:
  at = parallel.make_layout(4, 8, member_devices=mesh[0], batch_devices=mesh[1])
  return parallel.shrink(at, phase.members, phase.training.batch_size)


def start(name: str, phase: Phase):
  return members.init_states(phase, (0,), shape(name))


def rate(name: str) -> float:
  """SGD, of the methods of two stages, wants larger steps than Adam."""
  return 0.1 if SHAPES.get(name) == (32, 32, 3) else 1e-3


def shape(name: str):
  return SHAPES.get(name, tiny.SHAPE)


def feed(name: str, phase: Phase):
  """The small set's images, with what the phase prepares of them."""
  plain = tiny.feed(shape(name))
  return plain.beside(phase.prepare(plain.images)) if phase.prepare else plain


def some_images(name: str, count: int):
  return tiny.images(count, 1, shape(name))


def scores(name: str, images: np.ndarray, batch_size: int = 8) -> Scores:
  ready = scorer.Scorer(build(name), trained(name)[0], batch_size)
  return ready.images(images)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_a_method(name):
  method = build(name)
  assert isinstance(method, Method)
  assert len({p.name for p in method.phases()}) == len(method.phases())
  doc = __import__(f"medad_jax.methods.{name}", fromlist=["x"]).__doc__
  assert "Paper:" in doc and "Scored" in doc


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_finite_and_learn_a_fixed_batch(name):
  for losses in trained(name)[1].values():
    assert np.isfinite(losses).all()
  for phase, losses in trained(name, fixed=True)[1].items():
    # Refinement draws other anomalies at each step; its mean must still fall.
    assert (losses[-4:].mean(0) < losses[:4].mean(0)).all(), phase


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_what_the_method_names_and_are_finite(name):
  found = scores(name, some_images(name, 5))
  assert set(found) == set(build(name).score_names)
  for values in found.values():
    assert values.shape == (5, 1) and np.isfinite(values).all()


@pytest.mark.parametrize("name", METHODS)
def test_scores_depend_on_the_image_alone(name):
  images = some_images(name, 11)
  whole = scores(name, images)
  order = np.random.RandomState(0).permutation(11)
  for other, back in (
    (scores(name, images[order]), np.argsort(order)),  # permuted
    (scores(name, images[:3], 8), slice(3)),  # other neighbours, padding
  ):
    for key, values in other.items():
      count = len(values)
      np.testing.assert_allclose(
        values[back], whole[key][:count], rtol=1e-5, atol=1e-7
      )


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_keeps_the_scores(name, tmp_path):
  method, states = build(name), trained(name)[0]
  for phase, state in states.items():
    checkpoint.Checkpoints(tmp_path / "checkpoints", phase).finish(state)
  restored = scorer.restore(method, (0,), shape(name), tmp_path)
  images = some_images(name, 4)
  before = scorer.Scorer(method, states, 8).images(images)
  after = scorer.Scorer(method, restored, 8).images(images)
  jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize("name", METHODS)
def test_a_mesh_changes_nothing(name):
  one, many = trained(name), trained(name, mesh=(2, 2))
  for phase in one[1]:
    np.testing.assert_allclose(many[1][phase], one[1][phase], rtol=2e-3)
