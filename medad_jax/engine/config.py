"""Configurations: make them, check them, build what they describe.

`engine/fields.py` says which fields there are.
"""

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any

from medad_jax import ranges
from medad_jax.engine import fields
from medad_jax.engine.settings import Settings
from medad_jax.types import Method, UserError

Config = Mapping[str, Any]

_SHOWN = 4  # offenders that one sentence names; the others are counted

# What only says how and where to run, or which score to put first: it may
# change between a run and its continuation, or between training and evaluation.
RUN_FIELDS = (
  "parallel",
  "mesh",
  "until",
  "reuse",
  "keep_checkpoints",
  "steps_per_call",
  "checkpoint_seconds",
  "evaluation",
  "data.dir",
  "data.feed",
  "data.resident_mb",
  "data.workers",
  "model.headline",
)


def defaults(method: str, backbone: str | None = None) -> dict[str, Any]:
  """The configuration of a method, nested, with every field there is.

  Args:
    method: a module of `medad_jax.methods`.
    backbone: the method that it wraps; None for its own choice, if it wraps
      one.

  Raises:
    UserError: there is no such method, or it cannot wrap the backbone.
  """
  config: dict[str, Any] = {}
  for field in fields.of(method, backbone):
    _put(config, field.name, ranges.plain(field.default, field.annotation))
  return config


def kinds(method: str, backbone: str | None = None) -> dict[str, type]:
  """The plain types of all fields by dotted name, None apart.

  Args:
    method: as for `defaults`.
    backbone: as for `defaults`.
  """
  return {field.name: field.kind for field in fields.of(method, backbone)}


def build_method(config: Config) -> Method:
  """The method that the configuration describes.

  Numbers of the method, but not its settings, may be traced arrays [].

  Raises:
    UserError: a field is unknown, missing or out of its range.
  """
  default = fields.default_of(config.get("method"), config.get("backbone"))
  # Unknown names first, as they often explain a missing field.
  _check_names(config)
  for name in fields.wrapped(default):
    if config.get(name) is None:
      raise UserError(
        f"{config['method']} was given without config.{name}; start from"
        f" {fields.where(config['method'])}."
      )
  return _filled(default, _read(config, fields.of_method(default)))


def settings_of(config: Config) -> Settings:
  """The run's settings that the configuration describes.

  Raises:
    UserError: a setting is missing or out of its range.
  """
  return _filled(Settings(), _read(config, fields.of_settings()))


def with_hyper(config: Config, hyper: Mapping[str, Any]) -> dict[str, Any]:
  """The configuration with other values, such as those of a trial.

  Args:
    config: whole.
    hyper: values by name, {"train.learning_rate": 1e-4}; they may be traced.

  Raises:
    UserError: the configuration has no such field.
  """
  known = list(flatten(config))
  for name in hyper:
    if name not in known:
      raise UserError(f"{name} is not a field{fields.nearest(name, known)}.")
  # Sections are dicts themselves; a shallow copy would change the caller's.
  changed = _copied(config)
  for name, value in hyper.items():
    _put(changed, name, value)
  return changed


def completed(config: Config) -> tuple[dict[str, Any], list[fields.Field]]:
  """A saved configuration with today's fields, and those that it lacked.

  It takes their defaults: a field comes with one that means what runs did
  before there was the field (docs/architecture.md, "Add a field").

  Raises:
    UserError: it has a field or a method that there is no longer.
  """
  _check_names(config)
  flat, whole = flatten(config), _copied(config)
  # Which methods there are is no default's to say.
  known = fields.of(config["method"], config.get("backbone"))
  lacking = [f for f in known if f.place and f.name not in flat]
  for field in lacking:
    _put(whole, field.name, ranges.plain(field.default, field.annotation))
  return whole, lacking


def decisive(config: Config) -> dict[str, Any]:
  """Fields that decide what a run finds, flat."""
  return {
    name: value
    for name, value in flatten(config).items()
    if not any(name == f or name.startswith(f + ".") for f in RUN_FIELDS)
  }


def flatten(config: Config, prefix: str = "") -> dict[str, Any]:
  """{"data": {"dir": 1}} -> {"data.dir": 1}, tuples as lists."""
  flat: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f"{prefix}{key}.")
    else:
      # JSON has no tuples, and a configuration read back must equal this one.
      flat[prefix + key] = list(value) if isinstance(value, tuple) else value
  return flat


def _read(config: Config, wanted: Iterable[fields.Field]) -> dict[tuple, Any]:
  """The fields' values by place."""
  # Mistakes are collected, so that one sentence can name them all.
  flat, found, missing, wrong = flatten(config), {}, [], []
  for field in wanted:
    if field.name not in flat:
      missing.append(f"config.{field.name}")
      continue
    value = ranges.plain(flat[field.name], field.annotation)
    found[field.place] = value
    problem = ranges.problem(field.name, value, field.annotation)
    wrong += [problem] if problem else []
  if missing:
    raise UserError(
      f"{_listed(missing)} missing from the configuration of"
      f" {_described(config)}; make it with the files of configs/, whose"
      " argument names method and backbone."
    )
  if wrong:
    raise UserError(f"{'; '.join(wrong[:_SHOWN])}{_rest(wrong)}.")
  return found


def _filled(default: Any, values: Mapping[tuple, Any], place=()) -> Any:
  """The dataclass with the values in their places."""
  changes = {}
  for field in dataclasses.fields(default):
    inner, value = (*place, field.name), getattr(default, field.name)
    if inner in values:
      changes[field.name] = values[inner]
    elif dataclasses.is_dataclass(value):
      changes[field.name] = _filled(value, values, inner)
  # Inner dataclasses first. `replace` runs __post_init__, which checks what no
  # range of a single field can say.
  return dataclasses.replace(default, **changes)


def _check_names(config: Config) -> None:
  """Raises UserError if the configuration has fields that nobody reads."""
  method = config["method"]
  known = [field.name for field in fields.of(method, config.get("backbone"))]
  unknown = [name for name in flatten(config) if name not in known]
  if not unknown:
    return
  named = _listed([f"config.{name}" for name in unknown])
  # A flag of another method is a likelier mistake than a misspelled one.
  owners = fields.owners(unknown)
  if owners:
    raise UserError(
      f"{named} not of {_described(config)}, but of {', '.join(owners)}; start"
      f" from a configuration of {method} ({fields.where(method)})."
    )
  there = fields.beside(unknown[0], known) or list(config)
  raise UserError(
    f"{named} no field of {_described(config)}; there are {', '.join(there)}"
    f"{fields.nearest(unknown[0], known)}."
  )


def _described(config: Config) -> str:
  backbone = config.get("backbone")
  return config["method"] + (
    f" with the backbone {backbone}" if backbone else ""
  )


def _listed(names: list[str]) -> str:
  """ "a, b and 3 more are" or "a is"."""
  if len(names) == 1:
    return f"{names[0]} is"
  return f"{', '.join(names[:_SHOWN])}{_rest(names)} are"


def _rest(items: list[str]) -> str:
  return f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""


def _put(config: dict[str, Any], name: str, value: Any) -> None:
  """Puts a value where its dotted name says."""
  *parents, last = name.split(".")
  for parent in parents:
    config = config.setdefault(parent, {})
  config[last] = value


def _copied(config: Config) -> dict[str, Any]:
  return {
    key: _copied(value) if isinstance(value, Mapping) else value
    for key, value in config.items()
  }
