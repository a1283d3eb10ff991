"""Finished stages of another run, where training would give the same again.

Hashes beside every stage's checkpoint say what decided it: the data, the
method's own fields, the stages it reads, and the seed, place and rows of each
member. Members that agree in all of these are copied instead of trained.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from medad_jax import files
from medad_jax.engine import checkpoint, ending, fields, members, processes
from medad_jax.engine import config as configuration
from medad_jax.engine.run import Newer, Run
from medad_jax.types import Fit, Phase, Stage, TrainState, UserError


@dataclasses.dataclass(frozen=True)
class Origin:
  """Hashes of everything that decides a stage's result.

  Attributes:
    common: hash of what all members share.
    members: for each member, a hash of what is its own.
    there: as `common`, without fields that are newer than the run to reuse.
  """

  common: str
  members: tuple[str, ...]
  there: str = ""

  @property
  def text(self) -> str:
    """All of it, for stages that read this one."""
    return " ".join((self.common, *self.members))


def newer(other: Path) -> Newer:
  """Fields of methods that another run's configuration lacks.

  Empty where there is no configuration that this version reads.
  """
  try:
    config = files.read_json(other / "config.json", "reuse another run")
    _, lacking = configuration.completed(config)
    default = fields.default_of(config["method"], config.get("backbone"))
  except (UserError, LookupError):
    return {}  # its stages' hashes decide alone
  return {
    (type(_owner(default, field.place)), field.place[-1]): field.default
    for field in fields.of_method(default)
    if field in lacking
  }


def origin_of(stage: Stage, run: Run, earlier: Mapping[str, Origin]) -> Origin:
  """The origin of a stage of this run.

  Args:
    stage: of the run's method.
    run: its data, trials and fields.
    earlier: origins of the stages before it.
  """
  # A stage may name the fields that reach it; otherwise all fields count.
  made_of = getattr(stage, "made_of", None)
  made_of = run.method if made_of is None else made_of
  # Chained: whatever changes an earlier stage changes this one.
  reads = [earlier[name] for name in getattr(stage, "reads", ())]
  rows = {
    name: hashlib.sha256(np.asarray(pool, np.int64).tobytes()).hexdigest()
    for name, pool in run.pools.items()
  }
  common = (stage.name, run.data_text, run.shape, *_ended(stage, run))
  there = [dataclasses.replace(o, common=o.there).text for o in reads]
  return Origin(
    _hash((*common, text(made_of, {}), *(o.text for o in reads))),
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
    _hash((*common, text(made_of, run.newer), *there)),
  )


def _ended(stage: Stage, run: Run) -> tuple[str | int, ...]:
  """The rule by which a stage ends, if not with its last states."""
  if not isinstance(stage, Phase):
    return ()
  decides = run.select in (ending.AVERAGE, *stage.monitors)
  return (run.select, run.validate_every) if decides else ()


def text(value: Any, without: Newer) -> str:
  """Its `repr`, but for fields that have their default where these lack them.

  So an older version, which did not have the fields, wrote it.
  """
  if isinstance(value, tuple):
    parts = [text(part, without) for part in value]
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
  if not dataclasses.is_dataclass(value):
    return repr(value)
  shown = [
    f"{field.name}={text(own, without)}"
    for field in dataclasses.fields(value)
    for own in (getattr(value, field.name),)
    for key in ((type(value), field.name),)
    if key not in without or without[key] != own
  ]
  return f"{type(value).__qualname__}({', '.join(shown)})"


def keep(stage: Stage, run: Run, origin: Origin) -> None:
  """Writes a finished stage's origin beside its checkpoint."""
  if processes.first():
    own = {"common": origin.common, "members": origin.members}
    files.write_json(_path(run.workdir, stage.name), own)


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
  if there is None or not saved.finished or there.common != origin.there:
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


def _owner(value: Any, place: Sequence[str]) -> Any:
  """The dataclass that has the field at this place."""
  return functools.reduce(getattr, place[:-1], value)


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
