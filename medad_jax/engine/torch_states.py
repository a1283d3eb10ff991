"""States of a method as PyTorch's `state_dict`s, and back."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from medad_jax.engine import members
from medad_jax.types import Method, TrainState, UserError
from medad_jax.weights import conversion, state_file
from medad_jax.weights.layout import File, Published

States = Mapping[str, TrainState]
# Arrays of all members by path, "params/train/net/encoder/...".
Flat = dict[str, Any]
# Where a state keeps Flax's collections.
_COLLECTIONS = {"params": "params", "batch_stats": "extra"}


@dataclasses.dataclass(frozen=True)
class Slot:
  """The place of one file: a member of a trial.

  Attributes:
    file: its kind.
    index: of the member among those of the kind.
    trial: number of the trial.
    row: of the member in the states of its stages.
  """

  file: File
  index: int
  trial: int
  row: int

  @property
  def name(self) -> str:
    """The name on the command line and in messages: "--udm 0"."""
    return f"--{self.file.flag} {self.index}"

  def of(self, flat: Flat) -> dict[str, Any]:
    """This member's variables, nested as `conversion` takes them."""
    # Some states hold more than nets, such as PIAD's balance or sums of losses.
    own = {
      path: leaf[self.row]
      for path, leaf in flat.items()
      if any(state_file.inside(path, part) for part in self.file.parts)
    }
    return traverse_util.unflatten_dict(own, sep="/")


def files_of(
  method: Method, name: str, shape: tuple[int, int, int]
) -> tuple[File, ...]:
  """The kinds of files that hold a method's states.

  Raises:
    UserError: there are none.
  """
  if not isinstance(method, Published):
    raise UserError(
      f"{name} has no states that PyTorch's files hold; give the configuration"
      " of a method that trains a net which is published in PyTorch."
    )
  return method.files(shape)


def slots(
  files: Sequence[File], method: Method, trials: members.Trials
) -> list[Slot]:
  """The places of all files, by trial, kind and member.

  Files are given in this order for each flag.
  """
  # States hold trial after trial, each with all members of the stage.
  counts = {stage.name: stage.members for stage in method.phases()}
  return [
    Slot(file, index, trial, trial * counts[file.stages[0]] + member)
    for trial in range(len(trials))
    for file in files
    for index, member in enumerate(file.members)
  ]


def flatten(states: States) -> Flat:
  """All arrays of states by path; the members are the first axis."""
  found: Flat = {}
  for collection, attribute in _COLLECTIONS.items():
    for stage, state in states.items():
      tree = traverse_util.flatten_dict(getattr(state, attribute), sep="/")
      found |= {f"{collection}/{stage}/{path}": x for path, x in tree.items()}
  return found


def replaced(states: States, flat: Flat) -> dict[str, TrainState]:
  """States with the arrays of `flatten` in place of their own."""
  return {
    stage: dataclasses.replace(
      state,
      **{
        attribute: _filled(getattr(state, attribute), f"{name}/{stage}", flat)
        for name, attribute in _COLLECTIONS.items()
      },
    )
    for stage, state in states.items()
  }


def to_torch(
  slot: Slot,
  flat: Flat,
  counts: Mapping[str, int] | None,
  lacks: Sequence[str] = (),
) -> dict[str, np.ndarray]:
  """The `state_dict` of a slot.

  Args:
    slot: whose.
    flat: arrays of all states.
    counts: what PyTorch counted of batches, by name; None for 0 everywhere.
    lacks: optional parts that are left out.

  Raises:
    UserError: PyTorch has no names for some of the arrays.
  """
  # What the file lacked was drawn here, and is not PyTorch's.
  variables = state_file.without(slot.of(flat), lacks)
  with naming():
    found = conversion.to_torch(slot.file.table, jax.device_get(variables))
  if counts is None:
    return found
  # As in the file: those of PyTorch before 0.4.1 have no counts.
  return {
    name: np.asarray(counts[name], np.int64) if name in counts else value
    for name, value in found.items()
    if name in counts or not name.endswith(state_file.COUNT)
  }


@contextlib.contextmanager
def naming() -> Iterator[None]:
  """Turns arrays without a name into one sentence.

  Raises:
    UserError: a table has no name for some variables.
  """
  try:
    yield
  # The tables' own complaint, which lists all arrays without a name.
  except ValueError as error:
    raise UserError(
      f"{error}: the published net has no such sizes; set the fields of"
      " config.model to those of the published one."
    ) from error


def by_flag(all_slots: Sequence[Slot]) -> Iterator[tuple[str, list[Slot]]]:
  """Yields each flag with its slots, in their order."""
  for flag in dict.fromkeys(slot.file.flag for slot in all_slots):
    yield flag, [slot for slot in all_slots if slot.file.flag == flag]


def _filled(tree: Any, prefix: str, flat: Flat) -> Any:
  """The tree with the arrays of its paths."""
  # Not unflattened, which would lose empty parts.
  return jax.tree_util.tree_map_with_path(
    lambda path, _: flat["/".join((prefix, *(part.key for part in path)))], tree
  )
