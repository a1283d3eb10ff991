"""The members of a stage, expanded over the trials of a run.

A run of several trials is several runs in one program. Every trial has all the
members of the stage, trial after trial, and member `m` of trial `t` is what it
would be in a run of that trial alone.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import rng
from medad_jax.engine import checkpoint, parallel
from medad_jax.types import Phase, Pretrained, Stage, TrainState
from medad_jax.weights import pretrained

Trials = tuple["Trial", ...]
Shape = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Trial:
  """One training among several that share a program.

  Attributes:
    seed: of everything random.
    hyper: by field as flags name it ("train.learning_rate"), a number that
      takes the configured one's place.
    fold: names the rows that take the place of every pool's, the entry
      `rows_name(pool, fold)` of the run's pools; None for the pools' own.
  """

  seed: int
  hyper: Mapping[str, float] = dataclasses.field(default_factory=dict)
  fold: str | None = None


@dataclasses.dataclass(frozen=True)
class Member:
  """One of the members that train together.

  Attributes:
    name: names its random streams: its pool and its place there, so that a
      larger ensemble adds members and leaves the others as they are.
    rows: names the rows it trains on, among the run's pools.
    trial: the number of its trial.
    seed: of its trial.
  """

  name: str
  rows: str
  trial: int
  seed: int


def seeds(first: int, count: int) -> Trials:
  """Trials of `count` seeds from `first` on, and nothing else that differs."""
  return tuple(Trial(seed) for seed in range(first, first + count))


def rows_name(pool: str, fold: str | None) -> str:
  """The name, among a run's pools, of the rows that a pool has in a fold."""
  return pool if fold is None else f"{pool}/{fold}"


def of_stage(stage: Stage, trials: Trials) -> tuple[Member, ...]:
  """All members, trial after trial."""
  names = []
  count: dict[str, int] = {}
  for pool in stage.pools:
    place = count.setdefault(pool.name, 0)
    names.append((f"{stage.name}/{pool.name}/{place}", pool.name))
    # Numbered within the pool: a larger UDM must not rename the NDM's members,
    # which would change their random numbers.
    count[pool.name] += 1
  return tuple(
    # Named after its pool alone: in a fold it draws what it draws elsewhere.
    Member(name, rows_name(pool, trial.fold), number, trial.seed)
    for number, trial in enumerate(trials)
    for name, pool in names
  )


def predecessors(
  of: Sequence[Member], there: Sequence[Member]
) -> np.ndarray | None:
  """The number of each member's predecessor in another stage.

  Args:
    of: members of a stage.
    there: members of an earlier one, of the same trials.

  Returns:
    int32 [k]: the member of the same trial, pool and place, or the only one of
    a trial; None where a member has neither.
  """
  # By name and not by order: the stages may list their pools differently.
  at = {(m.trial, _place(m)): n for n, m in enumerate(there)}
  trials = {m.trial for m in there}
  # The only member of a trial, such as a pretrained network, serves all.
  if len(there) == len(trials):
    at = {(m.trial, _place(o)): n for n, m in enumerate(there) for o in of}
  found = [at.get((m.trial, _place(m))) for m in of]
  return None if None in found else np.array(found, np.int32)


def init_states(
  stage: Phase | Pretrained,
  trials: Trials,
  shape: Shape,
  earlier: Mapping[str, tuple[Sequence[Member], TrainState]] | None = None,
) -> TrainState:
  """All members of a stage before their first step, k first.

  Args:
    stage: what they train or import.
    trials: of the run.
    shape: of an image.
    earlier: members and final states of the stages that it reads.

  Raises:
    UserError: weights that the stage wants were not imported.
  """
  own = _own_states(of_stage(stage, trials), earlier or {})
  # Before a minute of compiling: a file may be missing.
  networks = _networks(stage)
  # Runs once. On a CPU the generator's code takes 2 s to compile at this level
  # and 0.3 s to run, for DDAD's six members; 8 s and 0.3 s at the highest, 1 s
  # and 1 s at the lowest.
  init = jax.jit(
    lambda own: _init_states(stage, trials, shape, own),
    compiler_options=parallel.optimization(1),
  )
  states = init(own)
  return _imported(states, networks) if networks else states


def abstract_states(
  stage: Phase | Pretrained,
  trials: Trials,
  shape: Shape,
  earlier: Mapping[str, tuple[Sequence[Member], TrainState]] | None = None,
) -> TrainState:
  """Shapes of `init_states`, what to restore into.

  The earlier states may be shapes, too.
  """
  who = of_stage(stage, trials)
  there = {name: members for name, (members, _) in (earlier or {}).items()}

  def init(states):
    both = {name: (there[name], states[name]) for name in states}
    return _init_states(stage, trials, shape, _own_states(who, both))

  # Traced only: nothing is computed or allocated.
  states = {name: states for name, (_, states) in (earlier or {}).items()}
  shapes = jax.eval_shape(init, states)
  return checkpoint.abstract(shapes, parallel.everywhere())


def own_states(
  member: Member,
  who: Sequence[Member],
  earlier: Mapping[str, tuple[Sequence[Member], TrainState]],
) -> dict[str, TrainState]:
  """One member's predecessors, without a leading axis."""
  number = who.index(member)
  own = _own_states(who, earlier)
  return jax.tree.map(lambda x: x[number], own)


def by_trial(states: Any, trials: int) -> Any:
  """[trials * k, ...] -> [trials, k, ...]."""
  return jax.tree.map(lambda x: x.reshape(trials, -1, *x.shape[1:]), states)


def _place(member: Member) -> str:
  """The name without its stage: pool and place."""
  return member.name.partition("/")[2]


def _own_states(who, earlier) -> dict[str, TrainState]:
  """Each member's predecessors, k first."""
  found = {}
  for name, (there, states) in earlier.items():
    numbers = predecessors(who, there)
    if numbers is not None:
      found[name] = jax.tree.map(lambda x, n=numbers: x[n], states)
  return found


def _init_states(stage, trials, shape, own) -> TrainState:
  keys = jnp.stack(
    [
      rng.stream(jax.random.key(member.seed), member.name)
      for member in of_stage(stage, trials)
    ]
  )
  return jax.vmap(lambda key, own: init_state(stage, key, shape, own))(
    keys, own
  )


def init_state(
  stage: Phase | Pretrained,
  key: jax.Array,
  shape: Shape,
  own: Mapping[str, TrainState],
) -> TrainState:
  """One member's state before its first step.

  Args:
    stage: what it trains or imports.
    key: the member's.
    shape: of an image.
    own: its predecessors in the stages that the stage reads.
  """
  # Streams by name: initial weights do not change when training draws more.
  params, extra = stage.init(rng.stream(key, "init"), shape)
  opt = {}
  if isinstance(stage, Phase):
    if stage.inherit is not None:
      params, extra = stage.inherit(params, extra, own)
    opt = stage.step.start(params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    extra=extra,
    opt=opt,
    key=rng.stream(key, "train"),
  )


def _networks(stage: Phase | Pretrained) -> dict[str, Any]:
  """Variables of the networks that the stage imports, by part."""
  origins = getattr(stage, "origins", {})
  return {
    part: pretrained.load(part).variables
    for part, origin in origins.items()
    if origin == "imported"
  }


def _imported(states: TrainState, networks: Mapping[str, Any]) -> TrainState:
  """The states with imported weights in place of random ones."""
  params, extra = dict(states.params), dict(states.extra)
  for part, found in networks.items():
    # A file of statistics has no "params"; its arrays are the variables.
    params[part] = _in_place(params[part], found.get("params", found))
    if "batch_stats" in found:
      extra[part] = _in_place(extra[part], found["batch_stats"])
  return dataclasses.replace(states, params=params, extra=extra)


def _in_place(initial: Any, imported: Any) -> Any:
  """The imported numbers of the arrays that there are, for every member."""
  if isinstance(initial, Mapping):
    # Over the arrays that the network has: the file may hold a classifier too.
    return {k: _in_place(v, imported[k]) for k, v in initial.items()}
  return jnp.broadcast_to(jnp.asarray(imported), initial.shape)
