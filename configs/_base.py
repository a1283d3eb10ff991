"""The configuration of a method before anything is changed in it."""

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
