"""Optimized HLO text as computations of instructions."""

from collections.abc import Iterator
import math
import re
from typing import NamedTuple

# Bits of an element, by the type's name; tokens and keys have none.
_BITS = re.compile(r"^(?:pred|[a-z]+(\d+)\w*)$")
_SHAPE = re.compile(r"(\w+)\[([\d,<=]*)\]")
_START = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
  r"\b(?:to_apply|body|condition|calls|true_computation|false_computation)"
  r"=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


class Shape(NamedTuple):
  """An array's shape.

  Attributes:
    kind: of its elements, such as "f32".
    sides: of its axes.
  """

  kind: str
  sides: tuple[int, ...]

  @property
  def size(self) -> int:
    """Number of elements."""
    return math.prod(self.sides)

  @property
  def bytes(self) -> int:
    """Bytes of all elements."""
    found = _BITS.match(self.kind)
    bits = 0 if found is None else int(found[1] or 8)
    return self.size * bits // 8


class Instruction(NamedTuple):
  """A line of a computation.

  Attributes:
    name: of its result.
    operation: such as "fusion".
    shapes: of its result; several for a tuple.
    operands: names of what it reads.
    rest: its attributes, as text.
    root: whether it is the computation's result.
  """

  name: str
  operation: str
  shapes: tuple[Shape, ...]
  operands: tuple[str, ...]
  rest: str
  root: bool

  @property
  def bytes(self) -> int:
    """Bytes of its result."""
    return sum(shape.bytes for shape in self.shapes)

  @property
  def called(self) -> tuple[str, ...]:
    """Names of the computations that it calls."""
    branches = _BRANCHES.search(self.rest)
    more = re.findall(r"[\w.\-]+", branches[1]) if branches else []
    return (*_CALLED.findall(self.rest), *more)

  @property
  def source(self) -> str:
    """The operation of the traced program that it is made of; '' if unknown."""
    return self.word(r'op_name="([^"]*)"')

  def word(self, pattern: str, default: str = "") -> str:
    """The first group of a pattern in the attributes."""
    found = re.search(pattern, self.rest)
    return found[1] if found else default


class Module(NamedTuple):
  """A program.

  Attributes:
    computations: by name, each its instructions by name, in their order.
    entry: name of the computation that runs first.
  """

  computations: dict[str, dict[str, Instruction]]
  entry: str


def parse(text: str) -> Module:
  """The program that `jax.stages.Compiled.as_text` prints."""
  computations: dict[str, dict[str, Instruction]] = {}
  entry, name = "", ""
  for line in text.splitlines():
    start = _START.match(line)
    if start:
      name = start[2]
      computations[name] = {}
      entry = name if start[1] else entry
    elif found := name and _INSTRUCTION.match(line):
      instruction = _instruction(found[2], found[3], bool(found[1]))
      computations[name][instruction.name] = instruction
  return Module(computations, entry)


def shapes(text: str) -> Iterator[Shape]:
  """Yields the arrays of a type, which may be a tuple of types."""
  for kind, sides in _SHAPE.findall(text):
    # A bounded side is written "<=8".
    numbers = [int(side.lstrip("<=")) for side in sides.split(",") if side]
    yield Shape(kind, tuple(numbers))


def _instruction(name: str, text: str, root: bool) -> Instruction:
  at = _outside(text, " ")
  kind, text = text[:at], text[at + 1 :]
  operation, _, text = text.partition("(")
  # Back to the bracket, so that the operands end where it is closed.
  end = _outside("(" + text, None) - 1
  operands = tuple(_NAME.findall(text[:end]))
  # A constant's value and a parameter's number stay in the rest.
  rest = text[end + 1 :] if operands else text
  return Instruction(name, operation, tuple(shapes(kind)), operands, rest, root)


def _outside(text: str, letter: str | None) -> int:
  """The place of a letter outside of brackets; of their end for None."""
  depth = 0
  for at, here in enumerate(text):
    if letter is not None and not depth and here == letter:
      return at
    depth += (here in "({") - (here in ")}")
    if letter is None and not depth:
      return at
  return len(text)
