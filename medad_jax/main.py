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

with cli.sentences():  # it reads the command line at once, and --flagfile
  CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A file of configs/, and what to change in it."
  )
WORKDIR = cli.define_path(
  "workdir", None, "Folder of the run; by default runs/<configuration>."
)
flags.mark_flag_as_required("config")


class _ConfigFile(flags.ArgumentParser):
  """ml_collections' parser, which finds files that come with the package."""

  def __init__(self, parser: flags.ArgumentParser):
    self._parser = parser

  def flag_type(self) -> str:
    """Name of the type in --help."""
    return self._parser.flag_type()

  def parse(self, path: str) -> Any:
    """The file's configuration, for the argument behind the colon."""
    name, colon, argument = path.partition(":")
    file = shipped.configuration_file(name)
    try:
      return self._parser.parse(f"{file}{colon}{argument}")
    except UserError:
      raise
    except Exception as error:
      # The file is the user's, and so is whatever it raises.
      *_, reason = ["", *str(error).strip().splitlines()]
      frames = traceback.extract_tb(error.__traceback__)
      lines = [f.lineno for f in frames if f.filename == str(file)]
      raise UserError(
        f"--config={path} cannot be read: {type(error).__name__} ({reason})"
        + (f" in line {lines[-1]} of {file}." if lines else ".")
      ) from error


flags.FLAGS["config"].parser = _ConfigFile(flags.FLAGS["config"].parser)


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
