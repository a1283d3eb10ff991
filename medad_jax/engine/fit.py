"""Stages in closed form: features of the normal images, then an estimate."""

from collections.abc import Mapping
import time

import jax
import jax.numpy as jnp

from medad_jax.engine import batched, checkpoint, members, run
from medad_jax.types import Fit, TrainState


def fit(stage: Fit, settings: run.Run, states: run.States) -> TrainState:
  """The stage's estimates, or those that an earlier run left.

  Args:
    stage: what to estimate.
    settings: how and on what.
    states: final states of the phases before it.

  Returns:
    A state whose parameters are the estimates, members first.

  Raises:
    UserError: the estimate cannot be written.
  """
  saved = checkpoint.Checkpoints(settings.workdir / "checkpoints", stage.name)
  if saved.finished:
    settings.log.note(f"{stage.name}: already estimated")
    return saved.final()
  start = time.monotonic()
  found = estimate(stage, settings, states)
  settings.log.note(f"{stage.name}: estimated for {stage.members} member(s)")
  settings.log.scalars(stage.name, 1, {"seconds": time.monotonic() - start})
  saved.finish(found)
  return found


def estimate(
  stage: Fit, settings: run.Run, states: Mapping[str, TrainState]
) -> TrainState:
  """The estimates of all members."""
  seen = batched.Batched(
    lambda states, batch: jax.vmap(stage.features, (0, None), 1)(states, batch),
    settings.scoring_batch,
    settings.layout.mode,
  )
  placed = seen.place(dict(states))
  images = settings.feed.images
  features = {
    pool: seen.whole(placed, images[settings.pools[pool]])
    for pool in dict.fromkeys(stage.pools)
  }
  found = [
    stage.estimate(features[member.pool][:, k])
    for k, member in enumerate(members.of_phase(stage, settings.seeds))
  ]
  return TrainState(
    step=jnp.ones(len(found), jnp.int32),
    params=jax.tree.map(lambda *xs: jnp.stack(xs), *found),
    extra={},
    opt={},
    key=jax.random.split(jax.random.key(0), len(found)),
  )
