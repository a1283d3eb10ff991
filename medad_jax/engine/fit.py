"""Stages in closed form: features of the normal images, then an estimate."""

from collections.abc import Callable, Iterator
import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.data.joined import Rows
from medad_jax.engine import (
  batched,
  checkpoint,
  members,
  parallel,
  program,
  run,
)
from medad_jax.engine.devices import Devices
from medad_jax.types import Fit, Spread, TrainState

# Members that another run has finished, and their states; None for none.
Given = Callable[[], tuple[list[int], TrainState] | None]


def fit(
  stage: Fit,
  settings: run.Run,
  earlier: program.Earlier,
  given: Given = lambda: None,
) -> TrainState:
  """The stage's estimates, or those that an earlier run left.

  Args:
    stage: what to estimate.
    settings: how and on what.
    earlier: members and final states of the stages that it reads.
    given: looks for the same estimates in another run.

  Returns:
    A state whose parameters are the estimates, members first.

  Raises:
    UserError: the estimate cannot be written.
  """
  saved = checkpoint.Checkpoints(settings.workdir / "checkpoints", stage.name)
  if saved.finished:
    settings.log.note(f"{stage.name}: already estimated")
    # With the shapes of the file, which only the estimator knows.
    return saved.final()
  settings.log.rewind(stage.name, 0)  # of a run that ended before it was saved
  start = time.monotonic()
  # Only now: a run that has its estimates does not need the other run.
  there = given()
  found = there[1] if there else estimate(stage, settings, earlier)
  made = "taken over" if there else "estimated"
  settings.log.note(f"{stage.name}: {made} for {stage.members} member(s)")
  settings.log.scalars(stage.name, 1, {"seconds": time.monotonic() - start})
  saved.finish(found)
  return found


def estimate(
  stage: Fit, settings: run.Run, earlier: program.Earlier
) -> TrainState:
  """The estimates of all members, each from a stream of its features."""
  who = members.of_stage(stage, settings.trials)
  seen = batched.Batched(
    stage.features, settings.scoring_batch, settings.devices
  )
  spread = (over(settings.devices),) if stage.spreads else ()
  found = [
    # On the host: estimators are numpy's or scikit-learn's, once a run.
    stage.estimate(
      _features(
        seen,
        members.own_states(member, who, earlier),
        settings.images,
        settings.pools[member.rows],
      ),
      *((member.seed,) if stage.draws else ()),
      *spread,
    )
    for member in who
  ]
  return TrainState(
    step=jnp.ones(len(found), jnp.int32),
    params=jax.tree.map(lambda *xs: jnp.stack(xs), *found),
    extra={},
    opt={},
    # Never used, but a state has one key a member.
    key=jax.random.split(jax.random.key(0), len(found)),
  )


def over(devices: Devices) -> Spread:
  """A runner of functions of rows over the devices."""
  # Nothing here has members: all devices share the rows, but cores of a CPU,
  # on which parts side by side are slower than the whole, as batches are.
  alone = dataclasses.replace(devices, member=1, batch=None)
  layout = alone.layout(1, len(devices.all))
  count = layout.used

  def spread(function, rows):
    ids = np.arange(-(-len(rows) // count) * count, dtype=np.int32)
    # Parts are equal; the rows of padding are copies that nobody may count.
    parts = rows[ids % len(rows)], np.where(ids < len(rows), ids, -1)
    call = layout.lift(
      lambda *part: function(*part, layout.axis),
      (parallel.EXAMPLE, parallel.EXAMPLE),
      parallel.WHOLE,
    )
    found = call(*layout.put(parts, parallel.EXAMPLE))
    return jax.device_get(layout.get(found, parallel.WHOLE))

  return spread


def _features(
  seen: batched.Batched, own: Any, images: Rows, rows: np.ndarray
) -> Iterator[Any]:
  """One member's features of the rows, batch after batch, on the host."""
  placed = seen.place(own)
  for at in range(0, len(rows), seen.size):
    # A batch at a time, as indexing with all rows would copy the whole pool.
    part = images[rows[at : at + seen.size]]
    yield from seen.batches(placed, part)
