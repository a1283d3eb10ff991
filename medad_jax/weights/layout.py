"""PyTorch files of a method: what each holds, and of which members.

A method says so itself (`Published.files`): its tables of names are part of it.
`engine/foreign.py` turns such files into states and back.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Protocol, runtime_checkable

from medad_jax.weights.conversion import Module, Table


@dataclasses.dataclass(frozen=True)
class File:
  """A kind of file, of which each of some members has one.

  Attributes:
    flag: names it on command lines, such as "checkpoint" or "udm".
    name: of an exported file; "{}" in it is the member's place.
    table: PyTorch's names; paths begin with stage and part, "train/net/...".
    members: numbers of the members, in the order of the stages' pools.
    optional: parts, or what is in them, that published files lack; then these
      stay as they were drawn.
    ignored: patterns of names that it may hold besides.
  """

  flag: str
  name: str
  table: Table
  members: Sequence[int] = (0,)
  optional: tuple[str, ...] = ()
  ignored: tuple[str, ...] = ()

  @functools.cached_property
  def parts(self) -> tuple[str, ...]:
    """The parts of the states that it holds, such as "train/net"."""
    paths = (module.path.split("/") for module in self.table.values())
    return tuple(dict.fromkeys("/".join(path[:2]) for path in paths))

  @property
  def stages(self) -> tuple[str, ...]:
    """The stages whose states it holds."""
    return tuple(dict.fromkeys(part.split("/")[0] for part in self.parts))

  def of_stage(self, stage: str) -> "File":
    """The same file of another stage than "train"."""

    def moved(path):
      return f"{stage}/{path.removeprefix('train/')}"

    return dataclasses.replace(
      self,
      table={
        name: Module(moved(module.path), module.kind)
        for name, module in self.table.items()
      },
      optional=tuple(map(moved, self.optional)),
    )

  def at(self, index: int) -> str:
    """The name of the exported file of the member at this place."""
    stem, dot, suffix = self.name.rpartition(".")
    if "{}" not in self.name and len(self.members) > 1:
      return f"{stem}_{index}{dot}{suffix}"
    return self.name.format(index)


@runtime_checkable
class Published(Protocol):
  """A method whose states PyTorch's files can hold."""

  def files(self, shape: tuple[int, int, int]) -> tuple[File, ...]:
    """The kinds of files, in the order of the stages.

    Args:
      shape: height, width and channels of the images; some names have them.
    """
    ...


def under(scope: str, table: Table) -> dict[str, Module]:
  """The table of a net that lies in a scope, such as "train/net"."""
  return {
    name: Module(f"{scope}/{module.path}", module.kind)
    for name, module in table.items()
  }


def model(table: Table, members: int) -> File:
  """The file `model.pt` of each member, --checkpoint on command lines.

  Args:
    table: paths begin with stage and part.
    members: how many there are.
  """
  return File("checkpoint", "model.pt", table, range(members))
