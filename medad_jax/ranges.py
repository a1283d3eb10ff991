"""Ranges of hyper-parameters: one annotation says what a field may hold.

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
  """

  low: int | float
  high: int | float
  open_low: bool = False
  open_high: bool = False

  def __contains__(self, value: int | float) -> bool:
    # Whole numbers of any length compare exactly; isfinite would overflow.
    if isinstance(value, float) and not math.isfinite(value):
      return False
    above = value > self.low if self.open_low else value >= self.low
    below = value < self.high if self.open_high else value <= self.high
    return above and below

  def __str__(self) -> str:
    low = f"above {self.low:g}" if self.open_low else f"from {self.low:g}"
    high = f"below {self.high:g}" if self.open_high else f"to {self.high:g}"
    return f"{low} {high}"


# A number that may differ between the members of one program is traced there.
Number = int | float | Float[Array, ""]

# Counts end where an int32 or a machine's memory would: a larger one is a typo.
Count = Annotated[int, Range(1, 1_000_000)]
Amount = Annotated[int, Range(0, 1_000_000_000)]  # of images, steps, draws
Width = Annotated[int, Range(1, 65_536)]  # channels, units, sides
Depth = Annotated[int, Range(1, 64)]  # layers, levels
Devices = Annotated[int, Range(1, 1_000_000)]
Seed = Annotated[int, Range(0, 2**31 - 1)]
Level = Annotated[int, Range(0, 255)]  # grey levels
Rate = Annotated[Number, Range(0, 1e4, open_low=True)]
FinalRate = Annotated[Number, Range(0, 1e4)]
Weight = Annotated[Number, Range(0, 1e9)]  # of a term of a loss
Share = Annotated[Number, Range(0, 1)]
# A share of which something must be left.
Part = Annotated[Number, Range(0, 1, open_high=True)]
Momentum = Annotated[Number, Range(0, 1, open_high=True)]
Positive = Annotated[Number, Range(0, 1e9, open_low=True)]
Real = Annotated[Number, Range(-1e9, 1e9)]
Seconds = Annotated[float, Range(0, 1e9)]
Megabytes = Annotated[float, Range(0, 1e9)]


def fields(cls: type) -> dict[str, Any]:
  """Annotations of a dataclass's fields by name, with their ranges."""
  hints = typing.get_type_hints(cls, include_extras=True)
  return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def problem(name: str, value: Any, annotation: Any) -> str | None:
  """What is wrong with a field's value, as one sentence; None if nothing is.

  Args:
    name: the field as the user writes it, "train.epochs".
    value: a plain value: number, string, flag, tuple or None.
    annotation: the field's type, with `Range` or `Literal`.
  """
  if _fits(value, annotation):
    return None
  return f"{name}={value!r} was given; set it to {describe(annotation)}."


def describe(annotation: Any) -> str:
  """What a field may hold, in words: "a whole number from 1 to 64"."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if origin is Annotated:
    return f"{describe(args[0])} {args[1]}"
  if origin is Literal:
    return "one of " + ", ".join(map(repr, args))
  if origin in (typing.Union, types.UnionType):
    # Traced numbers are for programs, not for people.
    known = [a for a in args if _is_plain(a)]
    return " or ".join(describe(a) for a in known)
  if origin is tuple:
    return f"a tuple, each of it {describe(args[0])}"
  return _NAMES[annotation]


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
      return False
    return value is None or _is_traced(value) or value in args[1]
  if origin is Literal:
    return isinstance(value, str) and value in args
  if origin in (typing.Union, types.UnionType):
    return any(_fits(value, a) for a in args)
  if origin is tuple:
    return isinstance(value, tuple) and _fit_all(value, args)
  if annotation is float:
    # True is an int to Python, and a mistake to everybody else.
    return isinstance(value, int | float) and not isinstance(value, bool)
  if annotation is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if annotation in _NAMES:
    return isinstance(value, annotation)
  return _is_traced(value)


def _fit_all(values: tuple, args: tuple) -> bool:
  if args[-1] is Ellipsis:
    return all(_fits(value, args[0]) for value in values)
  return len(values) == len(args) and all(map(_fits, values, args))


def _is_plain(annotation: Any) -> bool:
  return annotation in _NAMES or typing.get_origin(annotation) is not None


def _is_traced(value: Any) -> bool:
  """Whether a number differs between members, so that its value is not known.

  The values of trials are checked on the host, before they become arrays.
  """
  return hasattr(value, "aval")
