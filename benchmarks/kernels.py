"""Kernels that a compiled program starts on its device, read from its text."""

from collections import Counter
from collections.abc import Iterator
import re

COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "collective-permute",
  "all-to-all",
  "reduce-scatter",
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
_FUSIONS = {"kLoop": "loops", "kInput": "reductions", "kOutput": "products"}
# Other computations run in their place.
_CALLS = ("call", "while", "conditional")
_CALLED = re.compile(
  r"(?:to_apply|body|calls|true_computation|false_computation)=%?([\w.\-]+)"
)
_START = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = ")


def count(text: str) -> Counter[str]:
  """Kernels by kind, of a program's optimized text.

  The kinds are "loops" (fused operations on each element), "reductions",
  "products" (fused or of a library), "convolutions" of a library, "copies", the
  names in `COLLECTIVES`, and "others". A loop's body counts once.
  """
  bodies, entry = _computations(text)
  return Counter(_kinds(bodies, entry))


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  """Instructions by computation, and the name of the first to run."""
  bodies: dict[str, list[str]] = {}
  entry, name = "", ""
  for line in text.splitlines():
    start = _START.match(line)
    if start:
      name = start[2]
      bodies[name] = []
      entry = name if start[1] else entry
    elif name and _INSTRUCTION.match(line):
      bodies[name].append(line.partition(" = ")[2])
  return bodies, entry


def _kinds(bodies: dict[str, list[str]], name: str) -> Iterator[str]:
  for instruction in bodies[name]:
    kind = _kind(instruction)
    if kind in _CALLS:
      for called in _CALLED.findall(instruction):
        yield from _kinds(bodies, called)
    elif kind:
      yield kind


def _kind(instruction: str) -> str:
  """The kind of an instruction without its name; '' if nothing runs."""
  operation = _operation(instruction)
  # What is cut into a start and an end counts once.
  if operation in _FREE or operation.endswith("-done"):
    return ""
  operation = operation.removesuffix("-start")
  if operation in COLLECTIVES or operation in _CALLS:
    return operation
  if operation == "fusion":
    kind = re.search(r"kind=(\w+)", instruction)
    # A custom fusion is a product that was compiled by tiles.
    return _FUSIONS.get(kind[1] if kind else "", "products")
  if operation == "custom-call":
    return _library(instruction)
  return {
    "copy": "copies",
    "dot": "products",
    "convolution": "convolutions",
    "reduce": "reductions",
  }.get(operation, "others")


def _library(instruction: str) -> str:
  target = re.search(r'custom_call_target="([^"]*)"', instruction)
  name = target[1] if target else ""
  if "conv" in name:
    return "convolutions"
  return "products" if "cublas" in name or "gemm" in name else "others"


def _operation(instruction: str) -> str:
  """The word after an instruction's type, which may be a tuple of types."""
  depth = 0
  for at, letter in enumerate(instruction):
    depth += (letter == "(") - (letter == ")")
    if letter == " " and not depth:
      return instruction[at + 1 :].partition("(")[0]
  return ""
