"""Validation without labels, and the checkpoint that it chooses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import rng, steps
from medad_jax.data import index
from medad_jax.engine import members, train
from medad_jax.methods import ddad
from medad_jax.scoring import monitors
from medad_jax.training import Length, Optimizer
from medad_jax.types import NORMAL, Monitor, Phase
from tests import tiny
from tests.killed import killed_and_resumed

# AUROC after each epoch: the normal images score 0 to 1, the others a step's
# height more.
HEIGHTS = (0.0, 2.0, 0.5, 2.0, -2.0, 0.2)
BEST_EPOCH = 2


def phase():
  """Adds one at every step; an epoch has three."""

  def loss(params, extra, batch, context):
    return -jnp.sum(params["x"]), (extra, {})

  def validate(state, batch, key):
    noise = jnp.arange(len(batch["image"])) % 2.0  # 0 and 1
    epoch = jnp.round(state.params["x"][0] / 3).astype(int)
    return {
      "normal": noise,
      "synthetic": noise + jnp.asarray((0.0, *HEIGHTS))[epoch],
    }

  return Phase(
    "train",
    Length(len(HEIGHTS), 7),
    (NORMAL,),
    lambda key, shape: ({"x": jnp.zeros(1)}, {}),
    descent(loss),
    monitors={"synthetic": monitors.auroc(validate)},
  )


def descent(loss):
  return steps.Descend(loss, Optimizer("sgd", 1.0, momentum=0.0))


def run(workdir, select="synthetic", log=None, share=0.1, **options):
  pools = index.hold_out(tiny.pools(), share)  # 22 of 24 are left
  options |= {"select": select, "validate_every": 1, "pools": pools}
  if log is not None:
    options["log"] = log
  settings = tiny.run(workdir, tiny.feed(), steps_per_call=3, **options)
  return train.train([phase()], settings)["train"]


def curve(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {
    row["step"]: row["synthetic_auroc"][0]
    for row in map(json.loads, lines)
    if "synthetic_auroc" in row
  }


def test_the_best_validation_decides(tmp_path):
  state = run(tmp_path)
  assert list(curve(tmp_path)) == [3, 6, 9, 12, 15, 18]
  assert list(curve(tmp_path).values()) == [0.5, 1, 0.75, 1, 0, 0.75]
  assert state.params["x"][0, 0] == 3 * BEST_EPOCH  # the first of equal ones
  assert state.step[0] == 3 * BEST_EPOCH
  assert not (tmp_path / "checkpoints" / "train_best").exists()


def test_by_default_the_last_step_counts(tmp_path):
  state = run(tmp_path, select="last")
  assert len(curve(tmp_path)) == 6
  assert state.params["x"][0, 0] == 18


def test_without_images_held_out_nothing_is_measured(tmp_path):
  assert run(tmp_path, share=0.0).params["x"][0, 0] == 18
  assert not curve(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_the_second_halfs_mean_needs_no_image_held_out(tmp_path, share):
  state = run(tmp_path, select="average", share=share)
  assert state.params["x"][0, 0] == np.mean([9, 12, 15, 18])
  assert state.step[0] == 18
  assert not (tmp_path / "checkpoints" / "train_average").exists()


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_killed_run_has_the_same_mean(tmp_path, seconds):
  """Also where the mean is ahead of the checkpoint it goes on from."""

  def averaged(workdir, log=None):
    return run(workdir, "average", log, checkpoint_seconds=seconds)

  whole = averaged(tmp_path / "whole")
  again = killed_and_resumed(averaged, tmp_path / "cut", 5, "synthetic_auroc")
  assert whole.params["x"][0, 0] == 13.5
  jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_killed_run_chooses_the_same(tmp_path, count):
  whole = run(tmp_path / "whole")
  again = killed_and_resumed(run, tmp_path / "cut", count, "synthetic_auroc")
  jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
  assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_every_member_has_its_own_best(tmp_path):
  def init(key, shape):
    # One member of the two adds two at a step: it is ahead of its curve.
    return {"x": jnp.zeros(1)}, {"fast": jax.random.bernoulli(key)}

  def loss(params, extra, batch, context):
    return -jnp.sum(params["x"]) * (1 + extra["fast"]), (extra, {})

  pools = index.hold_out(tiny.pools(), 0.1)
  settings = tiny.run(
    tmp_path,
    tiny.feed(),
    steps_per_call=3,
    select="synthetic",
    validate_every=1,
    pools=pools,
    trials=members.seeds(0, 4),
  )
  state = train.train(
    [dataclasses.replace(phase(), init=init, step=descent(loss))], settings
  )["train"]
  fast = np.asarray(state.extra["fast"])
  assert fast.any() and not fast.all()
  # Twice as fast, the best height comes after one epoch.
  np.testing.assert_array_equal(state.step, np.where(fast, 3, 6))
  np.testing.assert_array_equal(state.params["x"][:, 0], 6)


def test_held_out_rows_are_normal_and_in_no_other_pool():
  pools = index.hold_out(tiny.pools(), 0.25)
  assert len(pools["held_out"]) == 6
  assert set(pools["held_out"]) <= set(tiny.pools()["normal"])
  for name in ("normal", "mixed"):
    assert not set(pools["held_out"]) & set(pools[name])
    assert len(pools[name]) == len(tiny.pools()[name]) - 6


def noisy_phase(seen):
  """Measures with the member's key and each image's partner."""

  def loss(params, extra, batch, context):
    return jnp.sum(params["x"] ** 2), (extra, {})

  def validate(state, batch, key):
    keys = rng.per_example(key, batch["slot"])
    noise = jax.vmap(jax.random.normal)(keys)
    partner = batch["source"].mean((1, 2, 3))
    return {
      "normal": batch["image"].mean((1, 2, 3)),
      "synthetic": partner + noise,
    }

  def summary(found):
    seen.append({k: np.asarray(v) for k, v in found.items()})
    return 0.0

  monitor = Monitor("seen", validate, summary, higher_is_better=True)
  return dataclasses.replace(
    phase(), step=descent(loss), monitors={"synthetic": monitor}
  )


@pytest.mark.parametrize(
  ("batch", "mesh", "mode"),
  [(8, (1, 1), "jit"), (16, (1, 8), "jit"), (8, (1, 4), "pmap")],
)
def test_made_anomalies_are_the_same_on_any_devices(
  tmp_path, batch, mesh, mode
):
  """Partners are rows and keys the members' own, whatever is beside them."""
  found = []
  pools = index.hold_out(tiny.pools(), 0.25)  # 6 images
  options = {
    "pools": pools,
    "steps_per_call": 3,
    "trials": members.seeds(0, 2),
    "validate_every": 100,
  }
  for scoring, at in ((6, (1, 1)), (batch, mesh)):
    workdir = tmp_path / f"{scoring}{at}"
    settings = tiny.run(
      workdir,
      tiny.feed(),
      scoring_batch=scoring,
      devices=tiny.devices(*at, mode),
      **options,
    )
    seen = []
    train.train([noisy_phase(seen)], settings)
    found.append(seen)
  for one, other in zip(*found, strict=True):
    for name, values in one.items():
      np.testing.assert_allclose(other[name], values, rtol=1e-5, atol=1e-6)
  first, second = found[0][:2]
  assert not np.allclose(first["synthetic"], second["synthetic"])
  images = tiny.images()[pools["held_out"]] / 127.5 - 1
  np.testing.assert_allclose(first["normal"], images.mean((1, 2, 3)), atol=1e-5)


def test_a_loss_chooses_its_least_value(tmp_path):
  def error(state, batch, key):
    epoch = state.params["x"][0] / 3
    return {"error": jnp.full(len(batch["image"]), (epoch - 4) ** 2)}

  chosen = dataclasses.replace(
    phase(), monitors={"validation_loss": monitors.mean(error)}
  )
  pools = index.hold_out(tiny.pools(), 0.1)
  settings = tiny.run(
    tmp_path,
    tiny.feed(),
    pools=pools,
    steps_per_call=3,
    validate_every=1,
    select="validation_loss",
  )
  assert train.train([chosen], settings)["train"].params["x"][0, 0] == 12


@pytest.mark.parametrize("select", ["average", "validation_loss"])
def test_members_that_finish_leave_their_devices(tmp_path, select):
  """A rule sees states of two devices at first, and then of one."""

  def error(state, batch, key):
    # The first member is worse when it has finished.
    reached = state.params["x"][0]
    value = jnp.where(reached == 18, 0, -reached)
    return {"error": jnp.full(len(batch["image"]), value)}

  mixed = ddad.Unlabelled(extra=16, anomaly_ratio=0.5).pool()
  rising = dataclasses.replace(
    phase(),
    pools=(NORMAL, mixed),  # 3 and 5 steps an epoch
    monitors={"validation_loss": monitors.mean(error)},
  )

  def run_on_two(workdir, log=None):
    options = {} if log is None else {"log": log}
    settings = tiny.run(
      workdir,
      tiny.feed(),
      pools=index.hold_out(tiny.pools(), 0.1),
      devices=tiny.devices(2),
      steps_per_call=1,
      validate_every=1,
      select=select,
      **options,
    )
    return train.train([rising], settings)["train"]

  # Once from two devices, once from one, a resumed run goes on with it.
  for lines in (3, 5):
    state = killed_and_resumed(
      run_on_two, tmp_path / f"{lines}", lines, "validation_loss"
    )
    # Measured every 5 steps: at 10 and 15 and, finished, 18; from 15 to 30.
    wanted = [np.mean([10, 15, 18]), np.mean([15, 20, 25, 30])]
    if select == "validation_loss":
      wanted = [15, 30]
    np.testing.assert_allclose(state.params["x"][:, 0], wanted, rtol=1e-6)
