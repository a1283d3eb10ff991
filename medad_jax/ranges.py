"""Ranges of hyper-parameters: an annotation gives the values of a field.

A field of a method or of a run is annotated with one of the aliases below, or
with a `Literal`. `problem` reads the annotation, so no field is checked in two
places and none can be forgotten: a test refuses a number without a range.
"""

from collections.abc import Mapping
import dataclasses
import math
import types
import typing
from typing import Annotated, Any, Literal

from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Range:
  """Finite numbers from `low` to `high`.

  Attributes:
    low: the least value.
    high: the greatest value.
    open_low: whether the least value itself is left out.
    open_high: whether the greatest value itself is left out.
    multiple: what a whole number must be a multiple of.
  """

  low: int | float
  high: int | float
  open_low: bool = False
  open_high: bool = False
  multiple: int = 1

  def __contains__(self, value: int | float) -> bool:
    # Whole numbers of any length compare exactly; isfinite would overflow.
    if isinstance(value, float) and not math.isfinite(value):
      return False
    above = value > self.low if self.open_low else value >= self.low
    below = value < self.high if self.open_high else value <= self.high
    whole = self.multiple == 1 or value % self.multiple == 0
    return above and below and whole

  def __str__(self) -> str:
    low, high = _said(self.low), _said(self.high)
    start = f"above {low}," if self.open_low else f"from {low}"
    end = f"and below {high}" if self.open_high else f"to {high}"
    steps = f", a multiple of {self.multiple}" if self.multiple > 1 else ""
    return f"{start} {end}{steps}"


# A number that may differ between the members of one program is traced there.
# Numbers that decide shapes or branches of a program are plain floats instead.
Number = int | float | Float[Array, ""]

# Counts end where an int32 or a machine's memory would: a larger one is a typo.
Count = Annotated[int, Range(1, 1_000_000)]
Amount = Annotated[int, Range(0, 1_000_000_000)]  # of images, steps, draws
Width = Annotated[int, Range(1, 65_536)]  # channels, units, sides
Depth = Annotated[int, Range(1, 32)]  # layers, levels
Draws = Annotated[int, Range(1, 1_000)]  # held in memory at once, an image
Tries = Annotated[int, Range(1, 1_000_000)]
Side = Annotated[int, Range(16, 8_192, multiple=16)]  # nets halve it four times
StoredSide = Annotated[int, Range(16, 8_192)]  # of which a net sees a part
# Each has a score of its own, which is traced by itself.
Members = Annotated[int, Range(1, 500)]
Devices = Annotated[int, Range(1, 1_000_000)]
Seed = Annotated[int, Range(0, 2**31 - 1)]
Pixels = Annotated[int, Range(1, 1_000)]  # of a shift
Level = Annotated[int, Range(0, 255)]  # gray levels
Rate = Annotated[Number, Range(0, 1e4, open_low=True)]
FinalRate = Annotated[Number, Range(0, 1e4)]
Weight = Annotated[Number, Range(0, 1e9)]  # of a term of a loss
Share = Annotated[Number, Range(0, 1)]
# A share of which something must be left.
Part = Annotated[Number, Range(0, 1, open_high=True)]
Momentum = Annotated[Number, Range(0, 1, open_high=True)]
Positive = Annotated[Number, Range(0, 1e9, open_low=True)]
Real = Annotated[Number, Range(-1e9, 1e9)]
FixedShare = Annotated[float, Range(0, 1)]
FixedInner = Annotated[float, Range(0, 1, open_low=True, open_high=True)]
FixedPositive = Annotated[float, Range(0, 1e9, open_low=True)]
FixedWeight = Annotated[float, Range(0, 1e9)]
FixedPart = Annotated[float, Range(0, 1, open_high=True)]
Seconds = Annotated[float, Range(0, 1e9)]
Megabytes = Annotated[float, Range(0, 1e9)]


def fields(cls: type) -> dict[str, Any]:
  """Annotations of a dataclass's fields by name, with their ranges."""
  hints = typing.get_type_hints(cls, include_extras=True)
  return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def problem(name: str, value: Any, annotation: Any) -> str | None:
  """A clause about an invalid value; None if the value is valid.

  Args:
    name: the field as the user writes it, "train.epochs".
    value: a plain value: number, string, flag, tuple or None.
    annotation: the field's type, with `Range` or `Literal`.
  """
  if _fits(value, annotation):
    return None
  wanted = describe(annotation)
  return f"{name}={_shortened(value)} was given; set it to {wanted}"


def is_bare(annotation: Any) -> bool:
  """True if a number in an annotation has no range."""
  if typing.get_origin(annotation) in (Annotated, Literal):
    return False
  inner = typing.get_args(annotation)
  return annotation in (int, float) or any(map(is_bare, inner))


def describe(annotation: Any) -> str:
  """The values that a field accepts, as "a whole number from 1 to 32"."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Annotated:
    return f"{describe(args[0])} {args[1]}"
  if origin is Literal:
    return "one of " + ", ".join(map(repr, args))
  if origin in (typing.Union, types.UnionType):
    # A fraction may be whole: "a whole number or a number" says less.
    said = [a for a in args if not _is_array(a)]
    said = [a for a in said if not (a is int and float in said)]
    return " or ".join(map(describe, said))
  if origin is tuple:
    count = "any number" if args[-1] is Ellipsis else len(args)
    return f"a tuple of {count}, each {describe(args[0])}"
  return _NAMES[annotation]


def kind(annotation: Any) -> type:
  """The plain type of a field's values, None apart: int for `Count | None`."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Literal:
    return type(args[0])
  if origin is tuple:
    return tuple
  if origin in (typing.Union, types.UnionType):
    # A `Number` may be whole, and its field holds fractions.
    return float if float in args else kind(args[0])
  return kind(args[0]) if origin is Annotated else annotation


def plain(value: Any, annotation: Any) -> Any:
  """A value as its field holds it: lists as tuples, whole numbers as floats.

  What does not fit comes back as it is, for `problem` to describe.
  """
  if isinstance(value, list | tuple):
    inner = typing.get_args(annotation)[:1] or (annotation,)
    return tuple(plain(v, inner[0]) for v in value)
  if (
    _is_whole(value) and kind(annotation) is float and _fits(value, annotation)
  ):
    return float(value)
  return value


_NAMES: Mapping[Any, str] = {
  int: "a whole number",
  float: "a number",
  bool: "True or False",
  str: "a text",
  type(None): "None",
}


def _fits(value: Any, annotation: Any) -> bool:
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Annotated:
    if not _fits(value, args[0]):
      return False  # a text has no place in a range
    # Values of trials are checked on the host, before they become arrays.
    return value is None or _is_traced(value) or value in args[1]
  if origin is Literal:
    return any(type(value) is type(a) and value == a for a in args)
  if origin in (typing.Union, types.UnionType):
    return any(_fits(value, a) for a in args)
  if origin is tuple:
    return isinstance(value, tuple) and _fit_all(value, args)
  if annotation is float:
    return isinstance(value, float) or _is_whole(value)
  if annotation is int:
    return _is_whole(value)
  if annotation in _NAMES:
    return isinstance(value, annotation)
  return _is_traced(value)


def _fit_all(values: tuple, args: tuple) -> bool:
  if args[-1] is Ellipsis:
    return all(_fits(value, args[0]) for value in values)
  return len(values) == len(args) and all(map(_fits, values, args))


def _is_whole(value: Any) -> bool:
  # True is an int to Python, and a mistake to everybody else.
  return isinstance(value, int) and not isinstance(value, bool)


def _is_array(annotation: Any) -> bool:
  return annotation not in _NAMES and typing.get_origin(annotation) is None


def _is_traced(value: Any) -> bool:
  """True if a number is an array: the value of a trial, not known here."""
  return hasattr(value, "aval") and value.shape == ()


def _said(number: int | float) -> str:
  """1000000 and 1e-06: whole numbers in full up to a billion."""
  whole = float(number).is_integer() and abs(number) <= 2**31
  return f"{int(number)}" if whole else f"{number:g}"


def _shortened(value: Any) -> str:
  try:
    text = repr(value)
  except ValueError:  # a whole number of more digits than Python prints
    return "a number of thousands of digits"
  return text if len(text) <= 60 else f"{text[:57]}..."
