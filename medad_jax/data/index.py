"""Which rows a member sees at which step: a pure function of seed and step.

There is no iterator state: the data position is the step number, every feed
gives the same batches, and a resumed run continues exactly.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import zlib

import numpy as np

from medad_jax.types import UserError

NORMAL = "normal"
MIXED = "mixed"
HELD_OUT = "held_out"

# (members, rows of a batch) -> those that a process feeds.
Part = Callable[[int, int], tuple[slice, slice]]


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
  """The batches of some members.

  Attributes:
    pools: for each member, the data-set rows it trains on.
    names: for each member, the name of its random stream.
    seeds: for each member, the seed of its run.
    batch_size: rows a step.
    drop_last: whether the rows of a pass that do not fill a batch are left
      out; otherwise they are a last, smaller step.
    given_steps: steps that are called an epoch; None for those of a pass.
  """

  pools: tuple[np.ndarray, ...]
  names: tuple[str, ...]
  seeds: tuple[int, ...]
  batch_size: int
  drop_last: bool = True
  given_steps: int | None = None

  def epoch_steps(self) -> tuple[int, ...]:
    """Steps an epoch, for each member.

    Raises:
      UserError: a pool is smaller than one batch; pools whose last batches
        are kept differ in size, or their epochs are no passes.
    """
    passes = self._count_pass_steps()
    if self.given_steps is None:
      return passes
    if not self.drop_last:
      raise UserError(
        f"epoch_steps={self.given_steps} counts steps of one size: set"
        " drop_last to True, or epoch_steps to None for whole passes."
      )
    return (self.given_steps,) * len(passes)

  def _count_pass_steps(self) -> tuple[int, ...]:
    sizes = [len(pool) for pool in self.pools]
    if not self.drop_last:
      if len(set(sizes)) > 1:
        raise UserError(
          "members train on pools of different sizes"
          f" ({', '.join(map(str, sorted(set(sizes))))}), so that their last"
          " batches cannot be one step: set train.drop_last to True."
        )
      return tuple(-(-size // self.batch_size) for size in sizes)
    for name, size in zip(self.names, sizes, strict=True):
      if size < self.batch_size:
        raise UserError(
          f"{name} has {size} training images and a batch takes"
          f" {self.batch_size}; lower the batch size or add images."
        )
    return tuple(size // self.batch_size for size in sizes)

  @property
  def remainder(self) -> int:
    """Rows of the last, smaller step of an epoch; 0 where there is none."""
    return 0 if self.drop_last else len(self.pools[0]) % self.batch_size

  def step_size(self, step: int) -> int:
    """Rows that a member's step takes."""
    last = self.remainder and (step + 1) % self._pass_steps[0] == 0
    return self.remainder if last else self.batch_size

  def rows(
    self, start: int, stop: int, members: Sequence[int]
  ) -> dict[str, np.ndarray]:
    """The rows of steps [start, stop) for `members`; steps of one size.

    Returns:
      'id' and 'source' (another row of the same pool, uniform over all but
      the row itself) and 'slot' (position in the global batch), int32
      [stop - start, len(members), b].
    """
    steps = [
      np.stack([self._step(m, step) for m in members], 1)
      for step in range(start, stop)
    ]
    ids, sources = np.stack(steps, 1)
    slot = np.broadcast_to(np.arange(ids.shape[-1], dtype=np.int32), ids.shape)
    return {"id": ids, "source": sources, "slot": slot}

  def _step(self, member: int, step: int) -> np.ndarray:
    """[2, b]: rows and sources."""
    number, within = divmod(step, self._pass_steps[member])
    at = slice(within * self.batch_size, (within + 1) * self.batch_size)
    return self._pass(member, number)[:, at]

  @functools.cached_property
  def _pass_steps(self) -> tuple[int, ...]:
    return self._count_pass_steps()

  @functools.cached_property
  def _passes(self) -> dict[int, tuple[int, np.ndarray]]:
    return {}  # the last pass of each member: steps are asked for in order

  def _pass(self, member: int, number: int) -> np.ndarray:
    if self._passes.get(member, (None,))[0] != number:
      drawn = pass_rows(
        self.pools[member], self.seeds[member], self.names[member], number
      )
      self._passes[member] = (number, drawn)
    return self._passes[member][1]


def everything(members: int, rows: int) -> tuple[slice, slice]:
  """The part of a process that is alone."""
  return slice(0, members), slice(0, rows)


def cut(rows: Mapping[str, np.ndarray], part: Part) -> dict[str, np.ndarray]:
  """A part of arrays [t, k, b]."""
  at = (slice(None), *part(*rows["id"].shape[1:]))
  return {name: array[at] for name, array in rows.items()}


def pass_rows(
  pool: np.ndarray, seed: int, name: str, number: int
) -> np.ndarray:
  """A shuffled pass over a pool, and a second row for each.

  Args:
    pool: rows of the data set, [n].
    seed: the run's seed.
    name: the member's stream.
    number: of the pass.

  Returns:
    int32 [2, n]: the permuted pool; for each of its rows another row, uniform
    over the n - 1 others (its own where n is 1).
  """
  # RandomState and not Generator: its streams never change between versions.
  draw = np.random.RandomState([seed, zlib.crc32(name.encode()), number])
  n = len(pool)
  order = draw.permutation(n)
  shift = draw.randint(1, n, n) if n > 1 else np.zeros(n, int)
  return np.stack([pool[order], pool[(order + shift) % n]]).astype(np.int32)


def splits_used(extra: int, anomaly_ratio: float) -> tuple[str, ...]:
  """The splits that `make_pools` takes rows from, in the array's order."""
  abnormal = int(extra * anomaly_ratio)
  wanted = {
    "train": 1,
    "unlabelled_normal": extra - abnormal,
    "unlabelled_abnormal": abnormal,
  }
  return tuple(name for name, rows in wanted.items() if rows > 0)


def make_pools(
  counts: Mapping[str, int],
  *,
  extra: int,
  anomaly_ratio: float,
  allow_truncation: bool = False,
) -> dict[str, np.ndarray]:
  """The row pools of a training array that holds the splits one after another.

  Args:
    counts: rows of 'train', 'unlabelled_normal', 'unlabelled_abnormal', in the
      order in which they lie in the array.
    extra: unlabelled images to add for the mixed pool.
    anomaly_ratio: share of them that is abnormal, in [0, 1].
    allow_truncation: take what there is where `extra` asks for more, as the
      reference does silently (DDAD-ASR spec Q7).

  Returns:
    'normal': the normal rows; 'mixed': these and the first unlabelled rows of
    each class (prefixes in list order, as the reference takes them).

  Raises:
    UserError: the ratio is impossible.
  """
  if not 0 <= anomaly_ratio <= 1:
    raise UserError(
      f"data.anomaly_ratio={anomaly_ratio} is not a share; set it to a number"
      " from 0 to 1."
    )
  abnormal = int(extra * anomaly_ratio)
  wanted = {
    "unlabelled_normal": extra - abnormal,
    "unlabelled_abnormal": abnormal,
  }
  short = {k: n for k, n in wanted.items() if n > counts.get(k, 0)}
  if short and not allow_truncation:
    lacks = " and ".join(
      f"{n} of {k} (there are {counts.get(k, 0)})" for k, n in short.items()
    )
    raise UserError(
      f"data.extra={extra} with data.anomaly_ratio={anomaly_ratio} asks for"
      f" {lacks}; lower data.extra, change data.anomaly_ratio or set"
      " data.allow_truncation."
    )
  starts = np.cumsum([0, *counts.values()])
  spans = {
    name: np.arange(start, start + count)
    for (name, count), start in zip(counts.items(), starts, strict=False)
  }
  empty = np.arange(0)
  unlabelled = [spans.get(name, empty)[:n] for name, n in wanted.items()]
  return {
    NORMAL: spans["train"],
    MIXED: np.concatenate([spans["train"], *unlabelled]),
  }


def hold_out(
  pools: Mapping[str, np.ndarray], share: float
) -> dict[str, np.ndarray]:
  """Takes normal rows at even distances out of all pools, into 'held_out'.

  Args:
    pools: rows by name, 'normal' among them.
    share: of the normal rows, in [0, 1).

  Raises:
    UserError: the share is impossible.
  """
  if not 0 <= share < 1:
    raise UserError(
      f"validation.share={share} is not the share of the normal images to hold"
      " out; set it to a number from 0 to below 1."
    )
  normal = pools[NORMAL]
  count = round(share * len(normal))
  held_out = normal[np.arange(count) * len(normal) // max(count, 1)]
  left = {k: v[~np.isin(v, held_out)] for k, v in pools.items()}
  return {**left, HELD_OUT: held_out}
