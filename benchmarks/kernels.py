"""Counts of a compiled program, read from its optimized HLO text.

XLA's own analysis counts nothing for a GPU without one, and cannot look into
the kernels of libraries. These counts need the text alone.
"""

from collections import Counter
from collections.abc import Iterator
import re
from typing import NamedTuple

from benchmarks import hlo, operations

COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "collective-permute",
  "all-to-all",
  "reduce-scatter",
)
KINDS = (
  "loops",
  "reductions",
  "products",
  "convolutions",
  "copies",
  "others",
)
# Names for memory that is there already: nothing runs for them.
_FREE = {
  "parameter",
  "constant",
  "tuple",
  "get-tuple-element",
  "bitcast",
  "after-all",
  "partition-id",
  "replica-id",
  "domain",
  "opt-barrier",
}
# Other computations run in their place.
_CALLS = ("call", "while", "conditional", "async")
# A fusion is of the first of these kinds whose operations it holds.
_HOLDS = (
  ("convolutions", {"convolution"}),
  ("products", {"dot"}),
  ("reductions", {"reduce", "reduce-window", "scatter"}),
)
_MOVES = {"copy", "transpose", "reshape", "broadcast", "slice", "concatenate"}
# Of a read array these take a part, and these pass on each of its elements.
_SLICES = {"slice", "dynamic-slice", "gather"}
_ELEMENTWISE = {"bitcast", "copy", "convert", "reshape", "transpose", "reverse"}
_TRIPS = r'known_trip_count":\{"n":"(\d+)"'


class Kernel(NamedTuple):
  """Work that a device starts at once.

  Attributes:
    kind: one of `KINDS` or of `COLLECTIVES`.
    times: it runs in a call of the program.
    library: whether a library has it.
    bytes: of its operands and results, each once; of an array that it takes
      rows of, the rows.
    operations: of its products and convolutions, by precision.
    source: the operation of the traced program that it is made of.
  """

  kind: str
  times: int
  library: bool
  bytes: int
  operations: Counter[str]
  source: str


class Counts(NamedTuple):
  """Counts of a program, on one of its devices.

  Attributes:
    kinds: kernels by kind.
    library: kernels of libraries.
    bytes: that all kernels read and write: an upper bound of what passes the
      main memory, as caches are not thought of.
    operations: floating-point operations of products and convolutions, by
      precision.
    moved: bytes that collectives take in.
  """

  kinds: Counter[str]
  library: int
  bytes: int
  operations: Counter[str]
  moved: int

  @property
  def collectives(self) -> dict[str, int]:
    """The number of each of `COLLECTIVES`."""
    return {kind: self.kinds[kind] for kind in COLLECTIVES}


def count(text: str) -> Counts:
  """The counts of a program's optimized text.

  A loop's body counts as often as it runs where XLA knows that, and else once.
  """
  kinds, performed = Counter[str](), Counter[str]()
  library = read = moved = 0
  for kernel in listed(text):
    kinds[kernel.kind] += kernel.times
    library += kernel.times * kernel.library
    read += kernel.times * kernel.bytes
    moved += kernel.times * kernel.bytes * (kernel.kind in COLLECTIVES)
    for precision, number in kernel.operations.items():
      performed[precision] += kernel.times * number
  # Of a collective as much comes out as goes in, as all here are sums.
  return Counts(kinds, library, read, performed, moved // 2)


def listed(text: str) -> list[Kernel]:
  """The kernels of a program's optimized text, in their order."""
  module = hlo.parse(text)
  return list(_kernels(module, module.entry, 1))


def _kernels(module: hlo.Module, name: str, times: int) -> Iterator[Kernel]:
  body = module.computations[name]
  for instruction in body.values():
    operation = _plain(instruction.operation)
    if operation in _FREE:
      continue
    if operation in _CALLS:
      trips = int(instruction.word(_TRIPS, "1")) if operation == "while" else 1
      for called in instruction.called:
        yield from _kernels(module, called, times * trips)
    else:
      yield _kernel(module, body, instruction, operation, times)


def _kernel(module, body, instruction, operation, times) -> Kernel:
  inner = [
    one
    for called in instruction.called
    for one in module.computations[called].values()
  ]
  return Kernel(
    _kind(instruction, operation, {one.operation for one in inner}),
    times,
    _library(instruction) is not None,
    _bytes(module, body, instruction, operation),
    operations.of(module, body, instruction),
    instruction.source,
  )


def _plain(operation: str) -> str:
  """An operation; what is cut into a start and an end counts once."""
  if operation.endswith(("-done", "-update")):
    return "bitcast"
  return operation.removesuffix("-start")


def _kind(instruction: hlo.Instruction, operation: str, inner: set[str]) -> str:
  if operation in COLLECTIVES:
    return operation
  if operation == "custom-call":
    return _library(instruction) or "others"
  if operation == "fusion":
    for kind, names in _HOLDS:
      if inner & names:
        return kind
    return "copies" if inner <= _MOVES | _FREE else "loops"
  return {
    "copy": "copies",
    "transpose": "copies",
    "dot": "products",
    "convolution": "convolutions",
    "reduce": "reductions",
  }.get(operation, "others")


def _library(instruction: hlo.Instruction) -> str | None:
  """The kind of a library's product; None for everything else."""
  name = instruction.word(r'custom_call_target="([^"]*)"')
  if "conv" in name:
    return "convolutions"
  return "products" if re.search("cublas|gemm|matmul", name) else None


def _bytes(module, body, instruction, operation) -> int:
  """Bytes that an instruction reads and writes."""
  if operation == "fusion":
    (called,) = instruction.called
    return _of_fusion(module.computations[called], instruction)
  written = instruction.bytes
  if instruction.operation.endswith("-start"):
    # Its result holds its operands, too.
    written = sum(body[name].bytes for name in instruction.operands)
  elif operation == "custom-call":
    # What follows the first result is a library's room to work in.
    written = instruction.shapes[0].bytes
  if operation in _SLICES:
    return 2 * written
  if operation == "dynamic-update-slice":
    return 2 * body[instruction.operands[1]].bytes
  return written + sum(body[name].bytes for name in instruction.operands)


def _of_fusion(body: dict[str, hlo.Instruction], fusion) -> int:
  """Bytes of a fusion: of what it only takes rows of, the rows."""
  users: dict[str, list[hlo.Instruction]] = {name: [] for name in body}
  for one in body.values():
    for name in set(one.operands):
      users[name].append(one)
  read = sum(
    _read(one, users) * one.bytes // max(_size(one), 1)
    for one in body.values()
    if one.operation == "parameter"
  )
  (root,) = (one for one in body.values() if one.root)
  if root.operation == "dynamic-update-slice":
    return read + body[root.operands[1]].bytes
  return read + fusion.bytes


def _read(one: hlo.Instruction, users: dict[str, list[hlo.Instruction]]) -> int:
  """The number of elements of an array that a fusion reads."""
  size = _size(one)
  if one.root:
    return size
  total = 0
  for user in users[one.name]:
    first = user.operands[0] == one.name
    if user.operation == "dynamic-update-slice" and user.root and first:
      continue  # written over, in its place
    # Places, which are other operands, are read whole.
    part = user.operation in _SLICES and first
    one_by_one = user.operation in _ELEMENTWISE and _size(user) == size
    total += _read(user, users) if part or one_by_one else size
  return min(total, size)


def _size(one: hlo.Instruction) -> int:
  return sum(shape.size for shape in one.shapes)
