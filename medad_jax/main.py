"""Trains a method and evaluates it.

  python -m medad_jax.main --config=configs/phantom_ddad.py
  python -m medad_jax.main --config=configs/rsna_ddad.py:aeu \
      --config.ensemble.size=5 --workdir=runs/rsna_aeu_5

The same command again continues a run that was stopped. `--distributed` makes
it one of several processes, as the scripts of launch/ start them.
"""

from pathlib import Path
import traceback
from typing import Any

from absl import flags
from ml_collections import config_flags

from medad_jax import shipped
from medad_jax.engine import cli, experiment
from medad_jax.types import UserError

CONFIG = config_flags.DEFINE_config_file(
  "config", None, "A file of configs/, and what to change in it."
)
WORKDIR = cli.define_path(
  "workdir", None, "Folder of the run; by default runs/<configuration>."
)
flags.mark_flag_as_required("config")


class _ConfigFile(config_flags.ConfigFileFlagParser):
  """Finds the file, also where it comes with an installed package."""

  def parse(self, path: str) -> Any:
    """The file's configuration, for the argument behind the colon."""
    name, colon, argument = path.partition(":")
    file = shipped.configuration_file(name)
    try:
      return super().parse(f"{file}{colon}{argument}")
    except Exception as error:
      # The file is the user's, and so is whatever it raises.
      at = traceback.extract_tb(error.__traceback__)[-1]
      reason = str(error).strip().splitlines() or [""]
      raise UserError(
        f"--config={path} cannot be read: {type(error).__name__}"
        f" ({reason[-1]}) in line {at.lineno} of {at.filename}."
      ) from error


flags.FLAGS["config"].parser = _ConfigFile("config")


def main() -> None:
  """Reads the flags."""
  file = flags.FLAGS["config"].config_filename
  workdir = WORKDIR.value or _default_workdir(file)
  experiment.train_and_evaluate(CONFIG.value.to_dict(), workdir)


def _default_workdir(config: str) -> Path:
  """configs/rsna_ddad.py:aeu -> runs/rsna_ddad_aeu."""
  file, _, argument = config.partition(":")
  parts = [Path(file).stem, *argument.split("/")]
  return Path("runs") / "_".join(filter(None, parts))


if __name__ == "__main__":
  cli.run(main, several=True)
