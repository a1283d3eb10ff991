"""Floating-point operations of products and convolutions in HLO text."""

from collections import Counter
import math
import re
from typing import NamedTuple

from benchmarks import hlo

PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
# By what a product of float32 states; "default" is what it does without.
_STATED = {
  "highest": "float32",
  "high": "tensorfloat32",
  "default": "tensorfloat32",
}
_NARROW = {"bf16": "bfloat16", "f16": "bfloat16", "f64": "float64"}
# The order of (input, kernel, output) among a library's operands and result,
# which comes last.
_ORDERS = {"BackwardInput": (2, 1, 0), "BackwardFilter": (0, 2, 1)}


def of(
  module: hlo.Module,
  body: dict[str, hlo.Instruction],
  instruction: hlo.Instruction,
) -> Counter[str]:
  """Operations by precision, of an instruction and of all that it calls.

  A multiplication and an addition are two. Of a convolution only what falls on
  pixels counts, not on the zeros around and between them: the kernels of
  libraries and of XLA need not multiply these.
  """
  found: Counter[str] = Counter()
  if instruction.operation == "dot":
    found[_precision(body, instruction)] = _of_dot(body, instruction)
  elif instruction.operation == "convolution":
    found[_precision(body, instruction)] = _of_convolution(body, instruction)
  elif instruction.operation == "custom-call":
    target = instruction.word(r'custom_call_target="([^"]*)"')
    if "conv" in target and "dim_labels" in instruction.rest:
      found[_precision(body, instruction)] = _of_convolution(body, instruction)
    elif "cublas" in target or "matmul" in target:
      found[_precision(body, instruction)] = _of_dot(body, instruction)
  else:
    for name in instruction.called:
      inner = module.computations[name]
      for one in inner.values():
        found += of(module, inner, one)
  return found


def _precision(body, instruction) -> str:
  kind = body[instruction.operands[0]].shapes[0].kind
  if kind in _NARROW:
    return _NARROW[kind]
  stated = instruction.word(r"operand_precision=\{(\w+)") or instruction.word(
    r'operand_precision":\["(\w+)"', "default"
  )
  return _STATED.get(stated.lower(), stated.lower())


def _of_dot(body, instruction) -> int:
  left = body[instruction.operands[0]].shapes[0].sides
  axes = instruction.word(r"lhs_contracting_dims=\{([\d,]*)\}")
  if not axes:  # a library's
    text = instruction.word(r'lhs_contracting_dimensions":\[([^\]]*)\]')
    axes = ",".join(re.findall(r"\d+", text))
  depth = math.prod(left[int(axis)] for axis in axes.split(",") if axis)
  return 2 * instruction.shapes[0].size * depth


class _Window(NamedTuple):
  """The way of a kernel along one axis.

  Attributes:
    size: taps.
    stride: between two outputs.
    before: zeros in front of the first pixel.
    between: distance of pixels, with zeros between them.
    apart: distance of taps.
  """

  size: int
  stride: int
  before: int
  between: int
  apart: int

  def hits(self, pixels: int, outputs: int) -> int:
    """The number of pairs of a tap and an output that fall on a pixel."""
    last = (pixels - 1) * self.between
    places = (
      output * self.stride + tap * self.apart - self.before
      for output in range(outputs)
      for tap in range(self.size)
    )
    return sum(0 <= at <= last and at % self.between == 0 for at in places)


def _of_convolution(body, instruction) -> int:
  arrays = [body[name].shapes[0].sides for name in instruction.operands[:2]]
  arrays.append(instruction.shapes[0].sides)
  target = instruction.word(r'custom_call_target="([^"]*)"')
  order = next((v for k, v in _ORDERS.items() if k in target), (0, 1, 2))
  image, kernel, output = (arrays[at] for at in order)
  labels = re.findall(r"[a-z\d]+", instruction.word(r"dim_labels=([\w>\-]+)"))
  windows = _windows(instruction, sum(x.isdigit() for x in labels[0]))
  pairs = 1
  for axis, window in enumerate(windows):
    pixels, outputs = (
      sides[names.index(str(axis))]
      for sides, names in ((image, labels[0]), (output, labels[2]))
    )
    pairs *= window.hits(pixels, outputs)
  groups = int(instruction.word(r"batch_group_count=(\d+)", "1"))
  depth = kernel[labels[1].index("i")]  # of a group
  return (
    2
    * pairs
    * depth
    * kernel[labels[1].index("o")]
    * output[labels[2].index("b")]
    // groups
  )


def _windows(instruction: hlo.Instruction, axes: int) -> list[_Window]:
  text = instruction.word(r"window=\{([^}]*)\}")
  found = {
    name: value.split("x")
    for name, _, value in (part.partition("=") for part in text.split())
  }

  def numbers(name: str, default: int = 1) -> list[int]:
    values = found.get(name, [str(default)] * axes)
    return [int(value.partition("_")[0]) for value in values]

  return [
    _Window(*each)
    for each in zip(
      numbers("size"),
      numbers("stride"),
      numbers("pad", 0),
      numbers("lhs_dilate"),
      numbers("rhs_dilate"),
      strict=True,
    )
  ]
