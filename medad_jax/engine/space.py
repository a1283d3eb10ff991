"""Spaces of configurations: axes of fields, and who may share a program.

Numbers that a program takes as arguments, such as learning rates, may differ
between trials of one program. All other fields decide what is compiled.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import itertools
import json
import typing
from typing import Any

from medad_jax import ranges
from medad_jax.engine import config as configuration
from medad_jax.engine import fields
from medad_jax.types import Along, UserError

# Values by field, such as {"train.learning_rate": 1e-3}.
Point = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Axis:
  """Fields that change together, and their values.

  Attributes:
    names: of the fields.
    values: one for each field, as often as the axis has points.
  """

  names: tuple[str, ...]
  values: tuple[tuple[Any, ...], ...]


@dataclasses.dataclass(frozen=True)
class Group:
  """Points that share a program.

  Attributes:
    fixed: values that all have.
    numbers: of the points, in the grid.
    hyper: for each training, numbers that are arguments of the program.
    scores: of the only training, one for each point; none where each point is
      a training of its own, whose headline counts.
  """

  fixed: Point
  numbers: tuple[int, ...]
  hyper: tuple[Mapping[str, float], ...]
  scores: tuple[str, ...] = ()


def parse(text: str) -> Axis:
  """The axis of a text "FIELD=VALUE,VALUE" or "FIELD+FIELD=[V,V],[V,V]".

  Values are JSON, or plain words.

  Raises:
    UserError: it is no such text.
  """
  name, sign, values = text.partition("=")
  # Lists need brackets of JSON; a word such as "concat" is none, and stays one.
  try:
    found = json.loads(f"[{values}]")
  except ValueError:
    found = values.split(",")
  if not sign or not found or not all(name.split("+")):
    raise UserError(
      f"--space={text} is no axis; give FIELD=VALUE,VALUE, such as"
      " train.learning_rate=0.001,0.01, or the name of a space."
    )
  return make({name: found})[0]


def make(space: Mapping[str, Iterable[Any]]) -> list[Axis]:
  """The axes of {"FIELD": values, "FIELD+FIELD": tuples of values}.

  Raises:
    UserError: values are not one for each field.
  """
  axes = []
  for text, values in space.items():
    names = tuple(text.split("+"))
    rows = tuple(
      tuple(v) if len(names) > 1 and isinstance(v, list | tuple) else (v,)
      for v in values
    )
    if any(len(row) != len(names) for row in rows):
      raise UserError(
        f"the axis {text} needs {len(names)} values in brackets at each point."
      )
    axes.append(Axis(names, rows))
  return axes


def points(config: configuration.Config, axes: Sequence[Axis]) -> list[Point]:
  """All points of the grid, as the fields hold their values.

  Args:
    config: whole; every point changes some of its fields.
    axes: of the grid.

  Raises:
    UserError: an axis names no field, two name the same one, or a point is no
      configuration.
  """
  names = [name for axis in axes for name in axis.names]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise UserError(f"{', '.join(twice)} is on two axes; name it on one.")
  kinds = _annotations(config)
  found: list[Point] = []
  for rows in itertools.product(*(axis.values for axis in axes)):
    values = [value for row in rows for value in row]
    point = {
      name: ranges.plain(value, kinds[name]) if name in kinds else value
      for name, value in zip(names, values, strict=True)
    }
    # Built to be checked, whole: fields may not suit each other.
    whole = configuration.with_hyper(config, point)
    configuration.settings_of(whole)
    configuration.build_method(whole)
    # 1 and 1.0 of an axis are the same number to a field.
    if point not in found:
      found.append(point)
  return found


def groups(
  config: configuration.Config, grid: Sequence[Point], most: int
) -> list[Group]:
  """Points that share a program, in the grid's order.

  Args:
    config: what the points change.
    grid: the points.
    most: points of one program.
  """
  if along := _along(config, grid):
    return _groups_along(along, grid)
  # By what is compiled; dictionaries keep the order in which they fill.
  kinds = _annotations(config)
  apart: dict[str, list[int]] = {}
  for number, point in enumerate(grid):
    fixed = {k: v for k, v in point.items() if not _differs(k, v, kinds)}
    apart.setdefault(json.dumps(fixed), []).append(number)
  found = []
  for numbers in apart.values():
    for at in range(0, len(numbers), most):
      part = numbers[at : at + most]
      hyper = tuple(
        {k: v for k, v in grid[n].items() if _differs(k, v, kinds)}
        for n in part
      )
      fixed = {k: v for k, v in grid[part[0]].items() if k not in hyper[0]}
      found.append(Group(fixed, tuple(part), hyper))
  return found


def _along(config: configuration.Config, grid: Sequence[Point]) -> Along | None:
  """The method's field that one run compares, where the grid has some of it."""
  along = getattr(configuration.build_method(config), "along", None)
  if along is None:
    return None
  values = {point.get(f"model.{along.field}") for point in grid}
  return along if len(values) > 1 else None


def _groups_along(along: Along, grid: Sequence[Point]) -> list[Group]:
  """A group for each point of all other fields, with all values of the one."""
  name = f"model.{along.field}"
  apart: dict[str, list[int]] = {}
  for number, point in enumerate(grid):
    apart.setdefault(json.dumps(point | {name: None}), []).append(number)
  found = []
  for numbers in apart.values():
    values = tuple(grid[n][name] for n in numbers)
    several = {f"model.{along.several}": values}
    scores = tuple(map(along.score.format, values))
    fixed = grid[numbers[0]] | several
    found.append(Group(fixed, tuple(numbers), ({},), scores))
  return found


def described(point: Point) -> str:
  """The point in words, "learning_rate=0.001 latent=8"."""
  if not point:
    return "as configured"
  return " ".join(
    f"{k.rpartition('.')[2]}={_said(v)}" for k, v in point.items()
  )


def _said(value: Any) -> str:
  if isinstance(value, list | tuple):
    return "/".join(map(_said, value))
  return f"{value:g}" if isinstance(value, float) else str(value)


def _annotations(config: configuration.Config) -> dict[str, Any]:
  found = fields.of(config["method"], config.get("backbone"))
  return {field.name: field.annotation for field in found}


def _differs(name: str, value: Any, kinds: Mapping[str, Any]) -> bool:
  """True if trials of one program may have values of their own."""
  # The field's type says whether its method takes an array for a number.
  return isinstance(value, float) and _takes_arrays(kinds[name])


def _takes_arrays(annotation: Any) -> bool:
  if annotation == ranges.Number:
    return True
  return any(map(_takes_arrays, _inner(annotation)))


def _inner(annotation: Any) -> tuple[Any, ...]:
  if typing.get_origin(annotation) is typing.Annotated:
    return typing.get_args(annotation)[:1]
  origin = typing.get_origin(annotation)
  is_union = origin is typing.Union or type(annotation).__name__ == "UnionType"
  return typing.get_args(annotation) if is_union else ()
