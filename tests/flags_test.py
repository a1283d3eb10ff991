"""Every field of every method, set by a flag and read back."""

import sys
import typing
from typing import Any

from absl import flags
from ml_collections import config_flags
import pytest

from configs import reconstruction, ssl
from medad_jax import ranges
from medad_jax.engine import config as configuration
from medad_jax.engine import fields

# ml_collections loads files in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")
# Fields whose values only the method knows.
KNOWN = {
  "model.headline": "rec",
  "model.layer": "relu1_1",
  "data.manifest": "",  # it excludes data.normal
  "data.preparation": "pad,resize:8192",
  "data.test_preparation": "gray,resize:8192",
  "data.stored_size": 8192,
  "data.augment": "affine:10:0.1:0.1,flip,crop",
  "constraint.mix_until": 3,
  "deep_if.model.layer": "concat",
  "growth.sides": (32, 64),
  # Of nets that do not grow.
  "dpa.model.adversarial_weight": 0.0,
  "dpa.constraint.mode": "off",
  "growth.layers": ("relu1_2",),
}
DDAD = fields.default_of("ddad")
BACKBONES = [
  name
  for name in fields.method_names()
  if isinstance(fields.default_of(name), ranges.fields(type(DDAD))["backbone"])
]
FILES = {
  **{
    f"configs/reconstruction.py:brain/{name}": (method, None)
    for name, (method, _) in reconstruction.METHODS.items()
    if name.replace("-", "_") == method
  },
  **{f"configs/ssl.py:brain/{name}": (name, None) for name in ssl.ONE_STAGE},
  "configs/ssl.py:brain/cutpaste-2s": ("cutpaste_2s", None),
  "configs/ssl.py:brain/anatpaste": ("anatpaste", None),
  "configs/ssl.py:brain/resnet18-imagenet": ("resnet18_imagenet", None),
  "configs/features.py:brain": ("patchcore", None),
  "configs/folder.py": ("patchcore", None),
  "configs/ra.py:brain": ("ra", None),
  "configs/dpa.py:phantom/wo_pg": ("dpa", None),
  "configs/piad.py:phantom": ("piad", None),
  "configs/deep_geo.py:phantom": ("deep_geo", None),
  "configs/deep_if.py:phantom": ("deep_if", None),
  "configs/fanogan.py:brain": ("fanogan", None),
  **{
    f"configs/reconstruction.py:brain/{name}": (name, None)
    for name in ("ganomaly_original", "memae_2d")
  },
  **{f"configs/brain_ddad.py:{name}": ("ddad", name) for name in BACKBONES},
}


def parsed(monkeypatch, *args: str) -> dict[str, Any]:
  """The configuration of a command line, as `main` reads it."""
  monkeypatch.setattr(sys, "argv", ["main", *args])  # ml_collections looks
  values = flags.FlagValues()
  flag = config_flags.DEFINE_config_file("config", flag_values=values)
  values(sys.argv)
  return flag.value.to_dict()


def another(annotation: Any, default: Any) -> Any:
  """A value in the field's range that is not its default."""
  origin, args = typing.get_origin(annotation), typing.get_args(annotation)
  if annotation is bool:
    return not default
  if annotation is str:
    return "other"
  if origin is typing.Annotated:
    return _number(args[1], ranges.kind(args[0]), default)
  if origin is typing.Literal:
    return next(value for value in args if value != default)
  if origin is tuple and args[-1] is Ellipsis:
    return (*default, another(args[0], default[0] if default else None))
  if origin is tuple:
    return tuple(map(another, args, default))
  return another(args[0], default)  # X | None


def _number(range_: ranges.Range, kind: type, default: Any) -> Any:
  """Smaller where that is possible: pairs of numbers stay in their order."""
  low, step = range_.low, range_.multiple if kind is int else 0.25
  if kind is float and default:
    return default * 0.75
  first = step if range_.open_low else low
  options = [default - step] if default is not None else []
  return next(
    kind(value)
    for value in (*options, first, first + step)
    if value in range_ and value != default
  )


def placed(root: Any, place: tuple[str, ...]) -> Any:
  for name in place:
    root = getattr(root, name)
  return root


def test_every_method_has_its_configuration():
  assert {name for name, _ in FILES.values()} == set(fields.method_names())


@pytest.mark.parametrize("file", FILES)
def test_every_field_is_set_by_its_flag(file, monkeypatch):
  name, backbone = FILES[file]
  start = configuration.flatten(parsed(monkeypatch, f"--config={file}"))
  wanted = {}
  default = fields.default_of(name, backbone)
  plain = [*fields.of_settings(), *fields.of_method(default)]
  for field in plain:
    value = start[field.name]
    value = tuple(value) if isinstance(value, list) else value
    known = KNOWN.get(f"{name}.{field.name}", KNOWN.get(field.name))
    wanted[field.name] = (
      another(field.annotation, value) if known is None else known
    )
  texts = [f"--config.{key}={value}" for key, value in wanted.items()]
  config = parsed(monkeypatch, f"--config={file}", *texts)
  settings = configuration.settings_of(config)
  method = configuration.build_method(config)
  of_settings = {field.name for field in fields.of_settings()}
  for field in plain:
    root = settings if field.name in of_settings else method
    assert placed(root, field.place) == wanted[field.name], field.name
