"""Ranges: every number has one, and says it in words."""

import dataclasses
import math
from typing import Annotated, Literal

import jax.numpy as jnp
import pytest

from medad_jax import ranges
from medad_jax.engine import fields
from medad_jax.ranges import Range


@dataclasses.dataclass(frozen=True)
class _Bare:
  """Numbers whose ranges were forgotten."""

  count: int = 1
  rate: float = 0.1
  pair: tuple[float, float] = (0.0, 1.0)
  maybe: int | None = None
  many: tuple[int, ...] = ()
  number: ranges.Number = 0.5


@dataclasses.dataclass(frozen=True)
class _Ranged:
  """Fields with ranges, and such that need none."""

  count: ranges.Count = 1
  pair: tuple[ranges.Share, ranges.Share] = (0.0, 1.0)
  maybe: ranges.Count | None = None
  flag: bool = False
  name: str = "x"
  choice: Literal[1, 3] = 1


def all_fields() -> dict[str, object]:
  """Annotations of all fields of all methods and of the settings."""
  found = {field.name: field.annotation for field in fields.of_settings()}
  for method in fields.method_names():
    for field in fields.of_method(fields.default_of(method)):
      found[f"{method}: {field.name}"] = field.annotation
  return found


def test_a_number_without_a_range_is_found():
  assert all(map(ranges.is_bare, ranges.fields(_Bare).values()))
  assert not any(map(ranges.is_bare, ranges.fields(_Ranged).values()))


def test_every_number_has_its_range():
  found = all_fields()
  assert [name for name, kind in found.items() if ranges.is_bare(kind)] == []


@pytest.mark.parametrize(
  ("value", "fits"),
  [(1, True), (4, True), (0, False), (5, False), (2.0, False), (True, False)]
  + [(x, False) for x in ("2", None, (), math.nan, 10**400, [2])],
)
def test_a_whole_number_in_its_range(value, fits):
  kind = Annotated[int, Range(1, 4)]
  assert (ranges.problem("n", value, kind) is None) == fits


@pytest.mark.parametrize(
  ("value", "fits"),
  [(1, True), (0.5, True), (0, False), (1.5, False), (-0.0, False)]
  + [(x, False) for x in ("1", True, None, math.nan, math.inf, 10**400)],
)
def test_a_fraction_in_its_range(value, fits):
  kind = Annotated[float, Range(0, 1, open_low=True)]
  assert (ranges.problem("n", value, kind) is None) == fits


@pytest.mark.parametrize(
  ("value", "kind", "says"),
  [
    (0, ranges.Count, "n=0 was given; set it to a whole number from 1 to"),
    (70, ranges.Side, "from 16 to 8192, a multiple of 16"),
    (-1.0, ranges.Rate, "a number above 0, to 10000"),
    (1.0, ranges.FixedPart, "a number from 0 and below 1"),
    ("x", ranges.Count | None, "a whole number from 1 to 1000000 or None"),
    (2, Literal[1, 3], "one of 1, 3"),
    ((1, 2), tuple[int, ...], None),
    ((0.1,), tuple[ranges.Share, ranges.Share], "a tuple of 2, each a number"),
    ("y" * 100, ranges.Count, "yyy... was given"),
  ],
)
def test_the_sentence_says_what_is_wanted(value, kind, says):
  found = ranges.problem("n", value, kind)
  assert found is None if says is None else says in found


def test_a_number_that_python_does_not_print():
  found = ranges.problem("n", 10**5000, ranges.Seed)
  assert found.startswith("n=a number of thousands of digits was given")


def test_only_a_number_of_a_trial_may_be_an_array():
  array = jnp.float32(-1)  # checked before it became an array
  assert ranges.problem("n", array, ranges.Rate) is None
  assert ranges.problem("n", array, ranges.FixedShare) is not None
  assert ranges.problem("n", array, ranges.Count) is not None
  assert ranges.problem("n", jnp.ones(2), ranges.Rate) is not None


@pytest.mark.parametrize(
  ("annotation", "kind"),
  [
    (ranges.Rate, float),
    (ranges.Positive | None, float),
    (ranges.Count | None, int),
    (str | None, str),
    (Literal["a", "b"] | None, str),
    (tuple[ranges.Count, ...], tuple),
  ],
)
def test_the_kind_of_a_flag(annotation, kind):
  assert ranges.kind(annotation) is kind


def test_a_whole_number_becomes_the_fraction_that_a_field_holds():
  assert isinstance(ranges.plain(1, ranges.Rate), float)
  assert ranges.plain([1, 2], tuple[ranges.Count, ...]) == (1, 2)
  assert ranges.plain(True, ranges.Rate) is True
