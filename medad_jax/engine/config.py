"""Configurations: check them and build what they describe.

The module name is the registry, and a method's dataclass fields are its
configuration: plain fields are read from `config.model`, `training` from
`config.train`, other sections (`ensemble`, `refine`) from the section of the
same name, with the fields of their own `training` beside the rest. A field
that the configuration leaves out keeps its default.
"""

from collections.abc import Mapping
import dataclasses
import difflib
import importlib
import pkgutil
import typing
from typing import Any

from medad_jax import methods
from medad_jax.types import Method, Training, UserError

Config = Mapping[str, Any]


def method_names() -> list[str]:
  """The methods there are: the public modules of `medad_jax.methods`."""
  found = pkgutil.iter_modules(methods.__path__)
  return sorted(m.name for m in found if not m.name.startswith("_"))


def build_method(config: Config) -> Method:
  """The method that the configuration describes.

  Raises:
    UserError: the method, a section or a field is unknown or impossible.
  """
  return _build(config["method"], config)


def check(config: Config) -> None:
  """Checks what no method checks.

  Raises:
    UserError: a value is impossible.
  """
  size = config["data"]["image_size"]
  if size < 16 or size % 16:
    raise UserError(
      f"data.image_size={size} cannot be halved four times; set it to a"
      " multiple of 16."
    )
  for name in ("steps_per_call", "evaluation.batch_size", "validation.every"):
    value = flatten(config)[name]
    if value < 1:
      raise UserError(f"{name}={value} is too small; set it to 1 or more.")


def flatten(config: Config, prefix: str = "") -> dict[str, Any]:
  """{"data": {"dir": 1}} -> {"data.dir": 1}, tuples as lists."""
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      flat[prefix + key] = list(value) if isinstance(value, tuple) else value
  return flat


def _build(name: str, config: Config) -> Method:
  if name not in method_names():
    raise UserError(
      f"'{name}' is not a method; there are {', '.join(method_names())}"
      f"{_nearest(name, method_names())}."
    )
  cls = importlib.import_module(f"medad_jax.methods.{name}").Method
  hints = typing.get_type_hints(cls)
  model = dict(config.get("model", {}))
  values = {}
  for field in dataclasses.fields(cls):
    kind = hints[field.name]
    default = None if field.default is dataclasses.MISSING else field.default
    if hasattr(kind, "phases"):  # a method that this one wraps
      values[field.name] = _build(config[field.name], config)
      model = {}  # these are the wrapped method's
    elif kind is Training:
      section = config.get("train", {})
      values[field.name] = _section("train", kind, section, default)
    elif dataclasses.is_dataclass(kind):
      section = config.get(field.name, {})
      values[field.name] = _section(field.name, kind, section, default)
    elif field.name in model:
      values[field.name] = _plain(model.pop(field.name))
  if model:
    plain = [f.name for f in dataclasses.fields(cls) if _is_plain(f, hints)]
    raise _unknown("model", next(iter(model)), plain)
  return cls(**values)


def _section(name: str, kind: Any, section: Config, default: Any) -> Any:
  """A dataclass from a section; a nested `training` reads the same section.

  What the section leaves out is the default's, if there is one.
  """
  hints = typing.get_type_hints(kind)
  nested = [f for f in dataclasses.fields(kind) if hints[f.name] is Training]
  fields = [f.name for f in dataclasses.fields(kind) if f not in nested]
  known = fields + [f.name for f in dataclasses.fields(Training) if nested]
  for key in section:
    if key not in known:
      raise _unknown(name, key, known)
  values = {k: _plain(v) for k, v in section.items() if k in fields}
  for field in nested:
    changed = {k: v for k, v in section.items() if k not in fields}
    trained: Any = getattr(default, field.name) if default else field.default
    values[field.name] = dataclasses.replace(trained, **changed)
  try:
    return dataclasses.replace(default, **values) if default else kind(**values)
  except TypeError as error:
    raise UserError(
      f"config.{name} is incomplete ({error}); its fields are"
      f" {', '.join(known)}."
    ) from error


def _is_plain(field: dataclasses.Field, hints: Mapping[str, Any]) -> bool:
  kind = hints[field.name]
  return not (dataclasses.is_dataclass(kind) or hasattr(kind, "phases"))


def _plain(value: Any) -> Any:
  return tuple(value) if isinstance(value, list) else value


def _unknown(section: str, key: str, known: list[str]) -> UserError:
  return UserError(
    f"config.{section}.{key} is not a field; there are"
    f" {', '.join(known)}{_nearest(key, known)}."
  )


def _nearest(name: str, names: list[str]) -> str:
  near = difflib.get_close_matches(name, names, 1)
  return f" (did you mean '{near[0]}'?)" if near else ""
