"""A tenth of a protocol: the same run with shorter trainings."""

from collections.abc import Mapping
from typing import Any

from medad_jax.engine import config as configuration

SAID = "a tenth of the protocol"

_TENTH = 10
# Lengths in sections; where a section has epochs, its steps make one of them.
_EPOCHS, _STEPS, _EPOCH_STEPS = "epochs", "steps", "epoch_steps"
_OTHERS = (
  "growth.transition_steps",
  "growth.stable_steps",
  "constraint.mix_from",
  "constraint.mix_until",
)


def shortened(config: Mapping[str, Any]) -> dict[str, Any]:
  """The configuration with a tenth of every length, and at least one.

  Epochs become fewer; where a length is in steps, these and those that count
  as an epoch become fewer, so that schedules by epochs keep their places.
  """
  flat = configuration.flatten(config)
  changes = {name: flat[name] for name in _OTHERS if flat.get(name)}
  for name in flat:
    section, _, field = name.rpartition(".")
    if field not in (_EPOCHS, _STEPS):
      continue
    # Steps win where both are given, as in training.
    by_steps = bool(flat.get(f"{section}.{_STEPS}"))
    if field == _EPOCHS and flat[name] and not by_steps:
      changes[name] = flat[name]
    if field == _STEPS and by_steps:
      changes[name] = flat[name]
      if of_epoch := flat.get(f"{section}.{_EPOCH_STEPS}"):
        changes[f"{section}.{_EPOCH_STEPS}"] = of_epoch
  return configuration.with_hyper(
    config, {k: max(1, int(v) // _TENTH) for k, v in changes.items()}
  )
