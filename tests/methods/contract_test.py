"""Contract of all methods: the test walks the folder, so a new one is in it."""

import dataclasses
import functools
from pathlib import Path
import tempfile

import jax
import numpy as np
import pytest

from medad_jax.engine import (
  checkpoint,
  fields,
  fit,
  members,
  program,
  scorer,
  train,
)
from medad_jax.engine import config as configuration
from medad_jax.types import (
  Fit,
  Method,
  Phase,
  Pretrained,
  Scores,
  Stage,
  TrainState,
)
from tests import tiny, toys
from tests.launched import launch

METHODS = fields.method_names()
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
  "ra": {
    "widths": (4, 8),
    "latent": 3,
    "draws": 2,
    "perceptual": "alex",
    "weights": "random",
  },
  "deep_geo": {"width": 1, "translation": 4},
  "deep_if": {"weights": "random", "layer": "conv2d_2b", "side": 40},
  "patchcore": {
    "weights": "random",
    "layers": ("stem", "block1"),
    "pooled": "block1",
    "sampled": 500,
    "coreset": 50,
    "dimensions": 8,
  },
  "fanogan": {"width": 4, "latent": 8},
  "ganomaly_original": {"width": 4, "latent": 3},
  "memae_2d": {"channels": (4, 4), "slots": 8, "threshold": 0.15},
  "dpa": {
    "weights": "random",
    "channels": (4, 4, 4),
    "latent": 3,
    "layers": ("relu1_2",),
  },
  "piad": {
    "weights": "random",
    "channels": (4, 4, 4),
    "latent": 3,
    "layers": ("relu1_2",),
    "critic_channels": (4, 4, 4),
    "latent_critic_channels": (4,),
    "critic_batches": 1,
  },
}
# Fields of its other stages.
GAN = {
  "gan.critic_steps": 1,
  "gan.epochs": 1,
  "gan.batch_size": 8,
  "train.steps": None,
}
GROWTH = {
  "growth.sides": (8, 16),
  "growth.layers": ("relu1_2",),
  "growth.transition_steps": 40,
  "growth.stable_steps": 4,
  "train.steps": 4,
}
DDAD = {
  "ensemble.size": 2,
  "data.extra": 16,
  "data.anomaly_ratio": 0.5,
  "refine.inputs": ("dual", "intra"),
  "refine.width": 4,
  "refine.epochs": 1,
  "refine.batch_size": 8,
}
OTHERS = {
  "ddad": DDAD,
  "dpa": GROWTH,
  "fanogan": GAN,
  "piad": {"train.steps": 4},
}
# Critic and generator play against each other: neither loss has to fall.
GAMES = (("fanogan", "gan"), ("piad", "train"))
# Their steps are those of `nsa` or `cutpaste_2s` with other anomalies.
ALIKE = ("cutpaste", "fpi", "pii", "anatpaste")
# Their steps take half a minute to compile. The suite holds these to golden
# numbers, and scores with initial states here.
LONG = ("dae", "deep_geo", "dpa", "fanogan", "piad", "ra")
# One loss, an ensemble, two stages, parts that move in turn.
KINDS = ("ae", "ddad", "cutpaste_2s", "ganomaly")
# The one that every way to spread work is tried with, by kind: a method, or a
# toy where the methods are slow to compile.
OF_KIND = {
  "one loss": "ae",
  "ensemble": "ddad",
  "two stages": "toy_fitted",
  "alternate": "toy_alternate",
  "critic": "toy_critic",
  "growing": "toy_growing",
}
# Patches and nets that halve often need more room.
SHAPES = {
  **dict.fromkeys(("cutpaste", "fpi", "pii", "nsa"), (64, 64, 1)),
  **dict.fromkeys(("cutpaste_2s", "anatpaste"), (32, 32, 3)),
  "resnet18_imagenet": (32, 32, 3),
  "ra": (32, 32, 1),
  "deep_geo": (32, 32, 1),
}


@functools.cache
def build(name: str) -> Method:
  """The method at small sizes, as its configuration describes it."""
  return configuration.build_method(small_config(name))


def small_config(name: str) -> dict:
  """The method's configuration with small sizes and one epoch."""
  config = configuration.defaults(name)
  small = {f"model.{k}": v for k, v in MODEL.get(name, NET).items()}
  if "train" in config:
    small |= {
      "train.epochs": 1,
      "train.batch_size": 8,
      "train.learning_rate": rate(name),
    }
  small |= OTHERS.get(name, {})
  return configuration.with_hyper(config, small)


def stages_of(name: str) -> tuple[Stage, ...]:
  """The stages of a method or a toy."""
  if name in toys.STAGES:
    return toys.STAGES[name]()
  return build(name).phases()


@functools.cache
def trained(
  name: str,
  mesh=(1, 1),
  fixed: bool = False,
  mode: str = "jit",
  steps: bool = True,
):
  """Final states by stage, and each phase's losses [t, k].

  With `fixed` every phase takes 12 steps on its first batch, without `steps`
  none at all.
  """
  calls = 4 if fixed else 1
  states, losses = {}, {}
  stages = stages_of(name)
  who = {stage.name: members.of_stage(stage, tiny.TRIALS) for stage in stages}
  for stage in stages:
    reads = getattr(stage, "reads", ())
    earlier = {name: (who[name], states[name]) for name in reads}
    if isinstance(stage, Fit):
      with tempfile.TemporaryDirectory() as folder:
        settings = tiny.run(Path(folder), tiny.feed(shape(name)))
        states[stage.name] = fit.estimate(stage, settings, earlier)
      continue
    start = (
      initial(name, stage.name)
      if not earlier
      else (members.init_states(stage, tiny.TRIALS, shape(name), earlier))
    )
    if isinstance(stage, Pretrained) or not steps:
      states[stage.name] = start.replace(opt={})
      continue
    ready = program_of(name, stage.name, mesh, mode)
    (chunk,) = ready.chunks([(0, 3)])
    if fixed:
      chunk = {k: v[:1].repeat(3, 0) for k, v in chunk.items()}
    placed, constants, found = ready.place(start), ready.constants(earlier), []
    for _ in range(calls):
      placed, metrics = ready.call(placed, constants, chunk)
      found.append(ready.metrics(metrics, 3)["loss"])
    final = ready.gather(placed, start)
    states[stage.name] = jax.device_get(final.replace(opt={}))
    losses[stage.name] = np.concatenate(found)
  return states, losses


@functools.cache
def initial(name: str, stage: str) -> TrainState:
  """The initial states of a stage that reads no other, compiled once."""
  (found,) = (s for s in stages_of(name) if s.name == stage)
  return members.init_states(found, tiny.TRIALS, shape(name))


def found(name: str, mode: str = "jit") -> dict[str, np.ndarray]:
  """Losses, final parameters and statistics on mesh (2, 2), by name."""
  states, losses = trained(name, mesh=(2, 2), mode=mode)
  leaves = jax.tree_util.tree_leaves_with_path(
    ({k: (v.params, v.extra) for k, v in states.items()}, losses)
  )
  return {jax.tree_util.keystr(path): np.asarray(x) for path, x in leaves}


@functools.cache
def program_of(name: str, stage: str, mesh, mode) -> program.Program:
  """The compiled steps of a phase, once for all tests."""
  stages = {stage.name: stage for stage in stages_of(name)}
  phase = stages[stage]
  order = train.make_order(phase, tiny.pools(), tiny.TRIALS)
  return program.Program(
    phase,
    tiny.devices(*mesh, mode).layout(phase.members, phase.length.batch_size),
    feed(name, phase),
    order,
    tiny.TRIALS,
    tuple(range(phase.members)),
    {s: members.of_stage(stages[s], tiny.TRIALS) for s in phase.reads},
    steps_per_call=3,
  )


def rate(name: str) -> float:
  """SGD, of the methods of two stages, wants larger steps than Adam."""
  return 0.1 if SHAPES.get(name) == (32, 32, 3) else 1e-3


def shape(name: str):
  return SHAPES.get(name, tiny.SHAPE)


def feed(name: str, phase: Phase):
  """The small set's images, with what the phase prepares of them."""
  plain, prepare = tiny.feed(shape(name)), phase.inputs.prepare
  return plain.beside(prepare(plain.images)) if prepare else plain


def numbers(states):
  """States whose keys are the numbers that they are made of."""
  return {
    name: dataclasses.replace(state, key=jax.random.key_data(state.key))
    for name, state in states.items()
  }


def slow_but(*names: str):
  """All methods, of which the suite tries these alone."""
  return [
    pytest.param(name, marks=() if name in names else pytest.mark.slow)
    for name in METHODS
  ]


# Those whose scores, and whose steps, the suite compiles.
SCORED = slow_but(*(name for name in METHODS if name not in ALIKE))
TRAINED = slow_but(*(name for name in METHODS if name not in ALIKE + LONG))


def some_images(name: str, count: int):
  return tiny.images(count, 1, shape(name))


@functools.cache
def scorer_of(name: str) -> scorer.Scorer:
  return scorer.Scorer(build(name), scored_states(name), 8, tiny.devices())


def scored_states(name: str) -> dict[str, TrainState]:
  """States that the suite scores with, by stage."""
  return trained(name, steps=name not in LONG)[0]


def scores(name: str, images: np.ndarray) -> Scores:
  return scorer_of(name).images(images)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_a_method(name):
  method = build(name)
  assert isinstance(method, Method)
  assert len({p.name for p in method.phases()}) == len(method.phases())
  doc = __import__(f"medad_jax.methods.{name}", fromlist=["x"]).__doc__
  assert "Paper:" in doc and "Scored" in doc


@pytest.mark.parametrize("name", TRAINED)
def test_steps_are_finite_and_learn_a_fixed_batch(name):
  for losses in trained(name)[1].values():
    assert np.isfinite(losses).all()
  for phase, losses in trained(name, fixed=True)[1].items():
    if (name, phase) in GAMES:
      continue
    # Refinement draws other anomalies at each step; its mean must still fall.
    assert (losses[-4:].mean(0) < losses[:4].mean(0)).all(), phase


@pytest.mark.parametrize("name", SCORED)
def test_scores_are_what_the_method_names_and_are_finite(name):
  found = scores(name, some_images(name, 5))
  assert set(found) == set(build(name).score_names)
  for values in found.values():
    assert values.shape == (5, 1) and np.isfinite(values).all()


@pytest.mark.parametrize("name", SCORED)
def test_scores_depend_on_the_image_alone(name):
  images = some_images(name, 11)
  whole = scores(name, images)
  order = np.random.RandomState(0).permutation(11)
  for other, back in (
    (scores(name, images[order]), np.argsort(order)),  # permuted
    (scores(name, images[:3]), slice(3)),  # other neighbours, padding
  ):
    for key, values in other.items():
      count = len(values)
      np.testing.assert_allclose(
        values[back], whole[key][:count], rtol=1e-5, atol=1e-7
      )


@pytest.mark.parametrize("name", SCORED)
def test_a_checkpoint_keeps_the_states(name, tmp_path):
  method, states = build(name), scored_states(name)
  for phase, state in states.items():
    checkpoint.Checkpoints(tmp_path / "checkpoints", phase).finish(state)
  restored = scorer.restore(method.phases(), tiny.TRIALS, shape(name), tmp_path)
  # What scores read is the same to the bit, and a program that was compiled
  # before needs no second one.
  jax.tree.map(np.testing.assert_array_equal, *map(numbers, (restored, states)))


# The others' draws and statistics are these methods'.
@pytest.mark.parametrize("name", slow_but(*KINDS, "vae"))
def test_a_mesh_changes_nothing(name):
  one, many = trained(name), trained(name, mesh=(2, 2))
  for phase in one[1]:
    np.testing.assert_allclose(many[1][phase], one[1][phase], rtol=2e-3)


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
  """Results of two processes with two devices each, by kind."""
  path = tmp_path_factory.mktemp("apart") / "found.npz"
  done = launch("tests.methods.apart", f"--out={path}", devices=2)
  assert done.returncode == 0, done.stderr
  with np.load(path) as arrays:
    return dict(arrays)


@pytest.mark.parametrize("kind", OF_KIND)
def test_pmap_is_jit(kind):
  assert_same(found(OF_KIND[kind], "pmap"), found(OF_KIND[kind]))


@pytest.mark.parametrize("kind", OF_KIND)
def test_two_processes_are_one(kind, apart):
  start = f"{kind}/"
  own = {k[len(start) :]: v for k, v in apart.items() if k.startswith(start)}
  assert_same(own, found(OF_KIND[kind]))


def assert_same(arrays, expected):
  """All losses, and nearly all numbers of the states.

  Where a gradient is rounding alone, as before a normalization, Adam makes
  whole steps of it; so does the inverse of few images' covariance.
  """
  assert set(arrays) == set(expected)
  near = {
    name: np.isclose(arrays[name], values, rtol=1e-3, atol=1e-5)
    for name, values in expected.items()
  }
  assert all(near[name].all() for name in near if name.startswith("[1]"))
  assert np.mean(np.concatenate([x.ravel() for x in near.values()])) > 0.98
