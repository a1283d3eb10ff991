"""Finished stages of another run, where training would give the same again.

Hashes beside every stage's checkpoint say what decided it: the data, the
method's own fields, the stages it reads, and the seed, place and rows of each
member. Members that agree in all of these are copied instead of trained.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medad_jax import files
from medad_jax.engine import checkpoint, members, processes
from medad_jax.engine.run import Run
from medad_jax.types import Fit, Stage, TrainState


@dataclasses.dataclass(frozen=True)
class Origin:
  """Hashes of everything that decides a stage's result.

  Attributes:
    common: hash of what all members share.
    members: for each member, a hash of what is its own.
  """

  common: str
  members: tuple[str, ...]

  @property
  def text(self) -> str:
    """All of it, for stages that read this one."""
    return " ".join((self.common, *self.members))


def origin_of(stage: Stage, run: Run, earlier: Mapping[str, Origin]) -> Origin:
  """The origin of a stage of this run.

  Args:
    stage: of the run's method.
    run: its data, trials and fields.
    earlier: origins of the stages before it.
  """
  # A stage may name the fields that reach it; otherwise all fields count.
  made_of = getattr(stage, "made_of", None)
  # Chained: whatever changes an earlier stage changes this one.
  reads = [earlier[name].text for name in getattr(stage, "reads", ())]
  fields = run.method_text if made_of is None else repr(made_of)
  rows = {
    name: hashlib.sha256(np.asarray(pool, np.int64).tobytes()).hexdigest()
    for name, pool in run.pools.items()
  }
  common = (stage.name, run.data_text, run.shape, fields, *reads)
  return Origin(
    _hash(common),
    tuple(
      _hash(
        (
          member.name,
          member.seed,
          sorted(run.trials[member.trial].hyper.items()),
          # The rows themselves: held-out images change them, not their name.
          rows[member.rows],
        )
      )
      for member in members.of_stage(stage, run.trials)
    ),
  )


def keep(stage: Stage, run: Run, origin: Origin) -> None:
  """Writes a finished stage's origin beside its checkpoint."""
  if processes.first():
    path = _path(run.workdir, stage.name)
    files.write_json(path, dataclasses.asdict(origin))


def found(
  stage: Stage, run: Run, origin: Origin, target: TrainState | None
) -> tuple[list[int], TrainState] | None:
  """Members of this stage that the run to reuse has finished.

  Args:
    stage: of this run.
    run: this run.
    origin: of the stage.
    target: shapes of all its members; None for an estimate.

  Returns:
    Their numbers here and their states, members first; None for none.
  """
  if run.reuse is None:
    return None
  saved = checkpoint.Checkpoints(run.reuse / "checkpoints", stage.name)
  there = _read(_path(run.reuse, stage.name))
  if there is None or not saved.finished or there.common != origin.common:
    return None
  here = [m for m, own in enumerate(origin.members) if own in there.members]
  # Estimates are cheap, and are taken over as a whole or not at all.
  if not here or (isinstance(stage, Fit) and len(here) < len(origin.members)):
    return None
  # The other run may have more members, or fewer.
  states = saved.final(_resized(target, len(there.members)))
  rows = np.array([there.members.index(origin.members[m]) for m in here])
  return here, jax.tree.map(lambda x: x[rows], states)


def placed(
  states: TrainState, here: Sequence[int], given: TrainState
) -> TrainState:
  """States of all members, with those given in their places."""
  at = np.asarray(here)
  return dataclasses.replace(
    jax.tree.map(
      lambda x, y: x.at[at].set(y),
      # Finished states have no optimizer's; those members take no steps.
      dataclasses.replace(states, opt={}),
      dataclasses.replace(given, opt={}),
    ),
    opt=states.opt,
  )


def remember(workdir: Path, stage: str, here: Sequence[int]) -> None:
  """Writes which members of a stage were taken over, before its first step."""
  if not processes.first():
    return
  path = _taken(workdir, stage)
  if here:
    files.write_json(path, {"members": list(here)})
  else:
    # An earlier start may have taken some and died before its first checkpoint.
    path.unlink(missing_ok=True)


def remembered(workdir: Path, stage: str) -> list[int]:
  """Members that an earlier start of this run has taken over.

  The other run may be gone or changed by now; training them again from their
  last step would spoil them.

  Raises:
    UserError: the file is damaged.
  """
  path = _taken(workdir, stage)
  if not path.exists():
    return []
  remedy = "start in a new --workdir"
  return list(files.read_json(path, remedy)["members"])


def _taken(workdir: Path, stage: str) -> Path:
  return workdir / "checkpoints" / f"{stage}.taken.json"


def _resized(target: TrainState | None, count: int) -> Any:
  if target is None:
    return None
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      (count, *x.shape[1:]), x.dtype, sharding=x.sharding
    ),
    target,
  )


def _path(workdir: Path, stage: str) -> Path:
  return workdir / "checkpoints" / f"{stage}.origin.json"


def _read(path: Path) -> Origin | None:
  """The origin in a file; None, so that the stage is trained, if unreadable."""
  try:
    found_ = json.loads(path.read_text())
    return Origin(found_["common"], tuple(found_["members"]))
  except (OSError, ValueError, KeyError, TypeError):
    return None


def _hash(value: Any) -> str:
  # Python's own `hash` of texts differs from process to process.
  return hashlib.sha256(repr(value).encode()).hexdigest()
