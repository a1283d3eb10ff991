"""Fields of a configuration, read off the dataclasses.

A method's module name is the registry, and its dataclass says everything.
Settings of the run come first; a method's plain fields are under "model", its
`length` and `optimizer` under "train", and any other dataclass in it under its
own name or its class's `section`. A method that wraps another one, its
backbone, has the backbone's fields too, except those that the backbone lists in
`alone`.
"""

from collections.abc import Iterable, Iterator
import dataclasses
import difflib
import importlib
import pkgutil
from typing import Any, NamedTuple

from medad_jax import methods, ranges
from medad_jax.engine.settings import Settings
from medad_jax.types import UserError


class Field(NamedTuple):
  """A plain field of a configuration.

  Attributes:
    name: in a configuration, such as "train.schedule.kind".
    place: attributes that lead to it, such as ("optimizer", "schedule",
      "kind").
    annotation: its type, with its range.
    default: its value, unless the configuration says otherwise.
  """

  name: str
  place: tuple[str, ...]
  annotation: Any
  default: Any

  @property
  def kind(self) -> type:
    """The plain type of its values, None apart."""
    return ranges.kind(self.annotation)


def method_names() -> list[str]:
  """The methods there are: the public modules of `medad_jax.methods`."""
  # Read off the folder, so that a new method needs no entry anywhere.
  found = pkgutil.iter_modules(methods.__path__)
  return sorted(m.name for m in found if not m.name.startswith("_"))


def of(method: str, backbone: str | None = None) -> list[Field]:
  """All fields of a configuration, in order; names of methods are texts.

  Args:
    method: a module of `medad_jax.methods`.
    backbone: the method that it wraps; None for its own choice, if it wraps
      one.

  Raises:
    UserError: there is no such method, or it cannot wrap the backbone.
  """
  default = default_of(method, backbone)
  # Their place is empty: they choose the dataclass and are no fields of it.
  named = [Field("method", (), str, method)]
  for field, inner in wrapped(default).items():
    # The class is always called `Method`; its module has the name.
    module = type(inner).__module__.rpartition(".")[2]
    named.append(Field(field, (), str, module))
  return [*named, *of_settings(), *of_method(default)]


def default_of(method: Any, backbone: Any = None) -> Any:
  """The method with the defaults of its class and of its backbone's.

  Args:
    method: as for `of`, unchecked.
    backbone: as for `of`, unchecked.

  Raises:
    UserError: as `of`.
  """
  default = _class_of(method, "method")()
  if backbone is None:
    return default
  if "backbone" not in wrapped(default):
    raise UserError(
      f"backbone={backbone!r} was given, but {method} has no backbone; start"
      f" from a configuration of {method} ({where(method)})."
    )
  # The field's annotation says what can be wrapped.
  kind = ranges.fields(type(default))["backbone"]
  cls = _class_of(backbone, "backbone")
  if not issubclass(cls, kind):
    possible = [n for n in method_names() if issubclass(_module(n), kind)]
    raise UserError(
      f"backbone={backbone!r} cannot be the backbone of {method}; choose one of"
      f" {', '.join(possible)}."
    )
  return dataclasses.replace(default, backbone=cls())


def wrapped(default: Any) -> dict[str, Any]:
  """The methods in a method, by field."""
  kinds = ranges.fields(type(default))
  return {
    name: getattr(default, name)
    for name, kind in kinds.items()
    # Not issubclass(kind, Method), which protocols with attributes refuse.
    if hasattr(kind, "phases")
  }


def of_method(default: Any) -> list[Field]:
  """The plain fields of a method with its default values."""
  return list(_fields(default, "model."))


def of_settings() -> list[Field]:
  """The plain fields of a run's settings."""
  return list(_fields(Settings(), ""))


def owners(names: Iterable[str]) -> list[str]:
  """The methods that have all these fields."""
  return [
    method
    for method in method_names()
    if set(names) <= {field.name for field in of(method)}
  ]


def where(method: str) -> str:
  """The configuration file to start from for a method."""
  if wrapped(default_of(method)):
    return "configs/DATASET_ddad.py:BACKBONE"
  return f"configs/reconstruction.py or configs/ssl.py with :DATASET/{method}"


def beside(name: str, names: Iterable[str]) -> list[str]:
  """The names in the same section, without it."""
  section, _, _ = name.rpartition(".")
  split = (other.rpartition(".") for other in names)
  return [last for other, _, last in split if other == section]


def nearest(name: str, names: Iterable[str]) -> str:
  """A hint at a field of the same last word, or at a similar one beside."""
  _, _, last = name.rpartition(".")
  # A right name in the wrong section is the usual mistake, so it comes before
  # similar spellings.
  same = [other for other in names if other.rpartition(".")[2] == last]
  near = difflib.get_close_matches(name, same, 1, cutoff=0.0)
  near = near or difflib.get_close_matches(last, beside(name, names), 1)
  return f" (did you mean '{near[0]}'?)" if near else ""


def _class_of(name: Any, field: str) -> Any:
  if name in method_names():
    return _module(name)
  raise UserError(
    f"{field}={name!r} is not a method; there are {', '.join(method_names())}"
    f"{nearest(str(name), method_names())}."
  )


def _module(name: str) -> Any:
  return importlib.import_module(f"medad_jax.methods.{name}").Method


def _fields(
  default: Any, section: str, place: tuple[str, ...] = ()
) -> Iterator[Field]:
  """The plain fields of a dataclass and of those in it.

  Args:
    default: has the default values.
    section: where its plain fields are, "" or ending in a point.
    place: attributes that lead to it.
  """
  for name, annotation in ranges.fields(type(default)).items():
    value, inner = getattr(default, name), (*place, name)
    if hasattr(annotation, "phases"):
      for field in _fields(value, section, inner):
        # The method around it decides these; a flag would change nothing.
        if field.place[len(inner)] not in value.alone:
          yield field
    elif dataclasses.is_dataclass(annotation):
      yield from _fields(value, _section(section, name, annotation), inner)
    else:
      yield Field(section + name, inner, annotation, value)


def _section(outer: str, name: str, kind: Any) -> str:
  """Section of a configuration that holds the fields of a nested dataclass."""
  if hasattr(kind, "section"):
    return f"{kind.section}."
  # Short names, as users type them: train.epochs, refine.epochs.
  if name in ("length", "optimizer"):
    return "train." if outer == "model." else outer
  return f"{name}." if outer == "model." else f"{outer}{name}."
