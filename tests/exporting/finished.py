"""Finished runs of the contract test's small methods, as folders."""

from pathlib import Path

from medad_jax.engine import checkpoint, config, workdir
from tests.methods import contract_test as contract

DATA = {"phantom": {"fingerprint": "f", "counts": {"train": 24}}}


def finish(name: str, folder: Path, **fields) -> Path:
  """Writes what a run of the method leaves: its configuration and states."""
  side, _, channels = contract.shape(name)
  sizes = {
    "data.image_size": side,
    "data.channels": channels,
    # Three on each of the simulated devices.
    "evaluation.batch_size": 24,
  }
  settings = config.with_hyper(contract.small_config(name), sizes | fields)
  folder.mkdir(parents=True)
  workdir.Workdir(folder).claim(settings, DATA)
  for stage, state in contract.scored_states(name).items():
    checkpoint.Checkpoints(folder / "checkpoints", stage).finish(state)
  return folder
