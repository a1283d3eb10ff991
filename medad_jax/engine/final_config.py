"""A configuration as a file of configs/, for `main` to take."""

from typing import Any

from medad_jax.engine import config as configuration


def with_length(
  config: configuration.Config, phase: str, steps: int, epoch_steps: int
) -> dict[str, Any]:
  """The configuration with another length of a phase, in its own unit.

  Args:
    config: whole.
    phase: its name.
    steps: its length.
    epoch_steps: steps of an epoch.
  """
  # A phase with a length of its own has a section of its name, as "refine";
  # that of the others is "train".
  own = f"{phase}.epochs" in configuration.flatten(config)
  section = phase if own else "train"
  if configuration.flatten(config).get(f"{section}.steps") is not None:
    return configuration.with_hyper(config, {f"{section}.steps": steps})
  # Epochs and not steps: the final training has more images, and in the same
  # number of passes sees each as often.
  epochs = max(round(steps / epoch_steps), 1)
  return configuration.with_hyper(config, {f"{section}.epochs": epochs})


def text(config: configuration.Config, origin: str) -> str:
  """The file's content.

  Args:
    config: whole.
    origin: what chose it, in words.
  """
  usual = configuration.flatten(
    configuration.defaults(config["method"], config.get("backbone"))
  )
  # What differs from the defaults alone, so that the file can be read.
  values = [
    f"    {key!r}: {_literal(value)},"
    for key, value in configuration.flatten(config).items()
    if usual.get(key) != value and key not in ("method", "backbone")
  ]
  return "\n".join(
    [
      f'"""{origin}"""',
      "",
      "from configs import _base",
      "",
      "",
      "def get_config():",
      "  config = _base.default(",
      f"    {config['method']!r},",
      f"    {config['data']['name']!r},",
      f"    {config.get('backbone')!r},",
      "  )",
      "  config.update_from_flattened_dict({",
      *values,
      "  })",
      "  return config",
      "",
    ]
  )


def _literal(value: Any) -> str:
  """The value in Python's words; lists are tuples there."""
  if isinstance(value, list | tuple):
    return repr(_as_tuple(value))
  return repr(value)


def _as_tuple(value: Any) -> Any:
  return (
    tuple(map(_as_tuple, value)) if isinstance(value, list | tuple) else value
  )
