"""Who trains in a phase: a run's seeds, and in each the phase's members.

A run of several seeds is several runs in one program. Every seed has all the
members of the phase, seed after seed, and member `m` of seed `s` is what it
would be in a run of that seed alone.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from medad_jax import rng
from medad_jax.engine import checkpoint, optim, parallel
from medad_jax.types import Fit, Phase, TrainState, UserError
from medad_jax.weights import pretrained


@dataclasses.dataclass(frozen=True)
class Member:
  """One of those who train together.

  Attributes:
    name: names its random streams: its pool and its place there, so that a
      larger ensemble adds members and leaves the others as they are.
    pool: name of the rows it trains on.
    seed: the seed of its run.
    run: the place of that seed among the seeds.
  """

  name: str
  pool: str
  seed: int
  run: int


def seeds_of(first: int, count: int) -> tuple[int, ...]:
  """`count` seeds from `first` on.

  Raises:
    UserError: there are none.
  """
  if count < 1:
    raise UserError(f"seeds={count} trains nothing; set it to 1 or more.")
  return tuple(range(first, first + count))


def of_phase(phase: Phase | Fit, seeds: tuple[int, ...]) -> tuple[Member, ...]:
  """All members, seed after seed."""
  names = []
  count: dict[str, int] = {}
  for pool in phase.pools:
    names.append(f"{phase.name}/{pool}/{count.setdefault(pool, 0)}")
    count[pool] += 1
  return tuple(
    Member(name, pool, seed, run)
    for run, seed in enumerate(seeds)
    for name, pool in zip(names, phase.pools, strict=True)
  )


def init_states(
  phase: Phase, seeds: tuple[int, ...], shape: tuple[int, int, int]
) -> TrainState:
  """All members of a phase before their first step, k first.

  Raises:
    UserError: weights that the phase wants were not imported.
  """
  # Runs once. On a CPU the generator's code takes 2 s to compile at this level
  # and 0.3 s to run, for DDAD's six members; 8 s and 0.3 s at the highest, 1 s
  # and 1 s at the lowest.
  options = {"xla_backend_optimization_level": 1}
  init = jax.jit(
    lambda: _init_states(phase, seeds, shape), compiler_options=options
  )
  states = init()
  params, extra = dict(states.params), dict(states.extra)
  for part, origin in phase.weights.items():
    if origin == "imported":
      found = pretrained.load(part).variables
      params[part] = _in_place(params[part], found.get("params", found))
      if "batch_stats" in found:
        extra[part] = _in_place(extra[part], found["batch_stats"])
  return dataclasses.replace(states, params=params, extra=extra)


def abstract_states(
  phase: Phase, seeds: tuple[int, ...], shape: tuple[int, int, int]
) -> TrainState:
  """Shapes of `init_states`, what to restore into."""
  shapes = jax.eval_shape(lambda: _init_states(phase, seeds, shape))
  return checkpoint.abstract(shapes, parallel.everywhere())


def by_seed(states: Any, seeds: int) -> Any:
  """[seeds * k, ...] -> [seeds, k, ...]."""
  return jax.tree.map(lambda x: x.reshape(seeds, -1, *x.shape[1:]), states)


def _in_place(initial: Any, imported: Any) -> Any:
  """The imported numbers of the arrays that there are, for every member."""
  if isinstance(initial, Mapping):
    return {k: _in_place(v, imported[k]) for k, v in initial.items()}
  return jnp.broadcast_to(jnp.asarray(imported), initial.shape)


def _init_states(phase, seeds, shape) -> TrainState:
  keys = jnp.stack(
    [
      rng.stream(jax.random.key(member.seed), member.name)
      for member in of_phase(phase, seeds)
    ]
  )
  return jax.vmap(lambda key: optim.init_state(phase, key, shape))(keys)
