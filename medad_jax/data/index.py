"""Rows of each member at each step: a pure function of seed and step.

There is no iterator state: the data position is the step number, every feed
gives the same batches, and a resumed run continues exactly.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import functools
import zlib

import numpy as np

from medad_jax.types import Pool, UserError

NORMAL = "normal"
HELD_OUT = "held_out"

# In the order in which they lie in a training array.
_SPLITS = ("train", "unlabelled_normal", "unlabelled_abnormal", "unlabelled")

_FEW = 8  # a batch of at most this part of the usual rows is worth a word

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
    batches: fresh batches a step; with several, steps go on through passes.
    copies: of each row; with several, a pass is over the pairs of a row and a
      copy that `pairs` numbers.
  """

  pools: tuple[np.ndarray, ...]
  names: tuple[str, ...]
  seeds: tuple[int, ...]
  batch_size: int
  drop_last: bool = True
  given_steps: int | None = None
  batches: int = 1
  copies: int = 1

  def epoch_steps(self) -> tuple[int, ...]:
    """Steps an epoch, for each member.

    Raises:
      UserError: a pool is smaller than one batch; pools whose last batches
        are kept differ in size, or their epochs are no passes.
    """
    passes = self._count_pass_steps()
    if self.batches > 1 and not self.drop_last:
      raise UserError(
        f"a step takes {self.batches} batches, which must be of one size: set"
        " drop_last to True."
      )
    if self.given_steps is None:
      return tuple(max(n // self.batches, 1) for n in passes)
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

  def few(self) -> str:
    """A sentence on a smaller step of too few rows; "" where there is none."""
    if not 0 < self.remainder <= self.batch_size // _FEW:
      return ""
    # Their statistics enter the running averages last, just before a validation
    # and the end.
    return (
      f"the last batch of each pass has {self.remainder} of {self.batch_size}"
      " images, too few for batch normalization; drop_last=True leaves it out"
    )

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
      [stop - start, len(members), b]; of several batches a step, with those as
      a last axis. 'copy' where a row has several.
    """
    steps = [
      np.stack([self._step(m, step) for m in members], 1)
      for step in range(start, stop)
    ]
    ids, sources = np.stack(steps, 1)
    slot = np.arange(ids.shape[2], dtype=np.int32)
    if self.batches > 1:
      slot = slot[:, None]
    slot = np.broadcast_to(slot, ids.shape)
    if self.copies == 1:
      return {"id": ids, "source": sources, "slot": slot}
    ids, copy = np.divmod(ids, np.int32(self.copies))
    sources = sources // np.int32(self.copies)
    return {"id": ids, "source": sources, "slot": slot, "copy": copy}

  def _step(self, member: int, step: int) -> np.ndarray:
    """[2, b]: rows and sources; of several batches [2, b, n]."""
    if self.batches == 1:
      return self._batch(member, step)
    numbers = range(step * self.batches, (step + 1) * self.batches)
    return np.stack([self._batch(member, n) for n in numbers], -1)

  def _batch(self, member: int, number: int) -> np.ndarray:
    """[2, b]: rows and sources of a member's batch of that number."""
    number, within = divmod(number, self._pass_steps[member])
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
  at = (slice(None), *part(*rows["id"].shape[1:3]))
  return {name: array[at] for name, array in rows.items()}


def pairs(rows: np.ndarray, copies: int) -> np.ndarray:
  """Numbers of all pairs of a row and a copy: row * copies + copy, int32."""
  if copies == 1:
    return rows
  first = rows.astype(np.int32)[:, None] * np.int32(copies)
  return (first + np.arange(copies, dtype=np.int32)).ravel()


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


def splits_used(pools: Iterable[Pool]) -> tuple[str, ...]:
  """The splits that pools take rows from, in the array's order."""
  wanted = {
    split
    for pool in pools
    for split, rows in pool.splits.items()
    if rows is None or rows > 0
  }
  return tuple(sorted(wanted, key=_SPLITS.index))


def make_pools(
  pools: Iterable[Pool], counts: Mapping[str, int]
) -> dict[str, np.ndarray]:
  """Rows of pools in an array that holds the splits one after another.

  Args:
    pools: what is wanted.
    counts: rows of each split, in the order in which they lie in the array.

  Returns:
    Rows by the pools' names: prefixes of the splits, in list order.

  Raises:
    UserError: a split has fewer rows than a pool wants.
  """
  starts = dict(zip(counts, np.cumsum([0, *counts.values()]), strict=False))
  found = {}
  for pool in pools:
    _check_counts(pool, counts)
    found[pool.name] = np.concatenate(
      [
        starts[split] + np.arange(counts[split])[:rows]
        for split, rows in pool.splits.items()
        if split in counts
      ]
    )
  return found


def _check_counts(pool: Pool, counts: Mapping[str, int]) -> None:
  short = {
    split: rows
    for split, rows in pool.splits.items()
    if rows is not None and rows > counts.get(split, 0)
  }
  if short and not pool.truncate:
    lacks = " and ".join(
      f"{rows} of {split} (there are {counts.get(split, 0)})"
      for split, rows in short.items()
    )
    raise UserError(
      f"the pool '{pool.name}' asks for {lacks} images; {pool.advice}."
    )


def balanced(rows: np.ndarray, sets: Sequence[str] | np.ndarray) -> np.ndarray:
  """Rows of which every set has as many, those of smaller ones repeated.

  Args:
    rows: of a pool.
    sets: the set of every row of the data.
  """
  own = np.asarray(sets)[rows]
  parts = [rows[own == name] for name in dict.fromkeys(own.tolist())]
  most = max(map(len, parts), default=0)
  return np.concatenate([np.resize(part, most) for part in parts])


def hold_out(
  pools: Mapping[str, np.ndarray],
  share: float,
  patients: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Takes normal rows at even distances out of all pools, into 'held_out'.

  Where patients are known, whole patients are taken: no pool keeps a row of one
  whose normal rows are held out.

  Args:
    pools: rows by name, 'normal' among them.
    share: of the normal rows or of their patients, in [0, 1).
    patients: the patient's number of every row; None where each row counts as
      another patient's.

  Raises:
    UserError: the share is impossible.
  """
  if not 0 <= share < 1:
    raise UserError(
      f"validation.share={share} is not the share of the normal images to hold"
      " out; set it to a number from 0 to below 1."
    )
  normal = pools[NORMAL]
  if patients is None:
    patients = np.arange(
      1 + max(rows.max(initial=-1) for rows in pools.values())
    )
  everyone = np.array(list(dict.fromkeys(patients[normal].tolist())), int)
  count = round(share * len(everyone))
  taken = everyone[np.arange(count) * len(everyone) // max(count, 1)]
  left = {k: v[~np.isin(patients[v], taken)] for k, v in pools.items()}
  return {**left, HELD_OUT: normal[np.isin(patients[normal], taken)]}


def fold(
  pools: Iterable[Pool],
  rows: Mapping[str, np.ndarray],
  patients: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Leaves each pool the parts of its rows that it has.

  Args:
    pools: what is wanted.
    rows: of every pool by name, and of others, which stay.
    patients: as for `hold_out`; where a pool has fewer patients than parts,
      its rows take turns.

  Raises:
    UserError: a part is empty.
  """
  found = dict(rows)
  for pool in pools:
    own = rows[pool.name]
    if pool.of == 1:
      continue
    numbers = own if patients is None else patients[own]
    first = {n: k for k, n in enumerate(dict.fromkeys(numbers.tolist()))}
    turns = np.array([first[n] for n in numbers.tolist()], int)
    if len(first) < pool.of:
      turns = np.arange(len(own))
    found[pool.name] = own[np.isin(turns % pool.of, pool.folds)]
    if not len(found[pool.name]):
      raise UserError(
        f"there are too few normal images to train on, {len(own)}: the part"
        f" '{pool.name}', one of {pool.of}, gets none of them; give more, of"
        " more patients."
      )
  return found
