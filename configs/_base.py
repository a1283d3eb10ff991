"""The configuration of a method before anything is changed in it."""

from collections.abc import Collection
import difflib

from ml_collections import ConfigDict, config_dict
from ml_collections.config_flags import config_path

from medad_jax.engine import config as configuration


def default(
  method: str, dataset: str, backbone: str | None = None
) -> ConfigDict:
  """All settings, and all fields of the method and of its backbone."""
  config = ConfigDict(configuration.defaults(method, backbone))
  empty = {
    name: config_dict.placeholder(kind)  # a flag must know the type
    for name, kind in configuration.kinds(method, backbone).items()
    if config_path.get_value(name, config) is None
  }
  config.update_from_flattened_dict(empty)
  config.data.name = dataset
  return config


def check(argument: str, known: Collection[str]) -> None:
  """Checks that a file has a configuration of this argument.

  Raises:
    UserError: it has none; those of the most similar names are given.
  """
  if argument not in known:
    near = difflib.get_close_matches(argument, known, 3, cutoff=0.0)
    raise configuration.UserError(
      f"there is no configuration '{argument}'; similar ones are"
      f" {', '.join(near)}."
    )
